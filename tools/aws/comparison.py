"""Both sides' answers beside each other, and the differences as a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tools.aws.cases import NEEDS, Case, Step
from tools.aws.replay import Replay
from tools.aws.side import Answer, Side
from tools.aws.sweep import sweep

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Difference:
    case: str
    step: str
    aws: Answer
    sandbox: Answer

    @property
    def what(self) -> str:
        parts = [
            name
            for name in ("code", "message", "status", "keys")
            if getattr(self.aws, name) != getattr(self.sandbox, name)
        ]
        return " and ".join(parts)


def possible(cases: Sequence[Case], *, has: Collection[str]) -> tuple[list[Case], list[str]]:
    """The cases that can run with what there is (of NEEDS), and for the others in words why not."""
    runs = [case for case in cases if not case.needs or case.needs in has]
    skipped = [f"{case.name}: it needs {case.needs}: {NEEDS[case.needs]}" for case in cases if case not in runs]
    return runs, skipped


def as_written(step: Step, answer: Answer) -> bool:
    """Whether an answer is what the case's file says of it."""
    return (
        answer.code == step.code
        and answer.message.startswith(step.message)
        and len(answer.keys) == len(step.keys)
        and all(found.startswith(wanted) for found, wanted in zip(answer.keys, step.keys, strict=True))
    )


def plan(cases: Sequence[Case], side: Side) -> list[str]:
    """What a run makes, in words."""
    made = [role for case in cases for role in case.roles]
    roles = sum(not role.account for role in made)
    boundaries = sum(role.boundary is not None for role in made)
    there = len(made) - roles
    return [
        f"account {side.account}, {side.region}: everything named {side.run}… and tagged towpath:test",
        f"2 buckets with 3 objects, {roles} roles with inline policies, {boundaries} managed policies as boundaries"
        + (", 1 OIDC provider" if side.issuer else ""),
        *(
            [f"account {side.other.account}: {there} roles with inline policies, named and tagged alike"]
            if side.other is not None and there
            else []
        ),
        f"{sum(len(case.steps) for case in cases)} requests; those that are refused change nothing, the others stay in those buckets and roles",
    ]


@contextmanager
def removed_afterwards(side: Side, say: Say) -> Generator[None]:
    """Whatever ends the block, Ctrl-C too, what the run made goes, in each account whatever happens in the other."""
    with ExitStack() as stack:
        for each in side.accounts:
            stack.callback(each.close)
            stack.callback(_remove, each, say)
        yield


def _remove(side: Side, say: Say) -> None:
    say(f"{side.name}: removing {side.run}… in {side.account}")
    for line in sweep(side, run=side.run, on_event=say):
        say(f"{side.name}: NOT removed: {line}")


def compare(cases: Sequence[Case], *, aws: Side, sandbox: Side, say: Say = lambda _: None) -> list[Difference]:
    """Replay on both and give every step that was answered differently."""
    answers: list[list[list[Answer]]] = []
    for side in (aws, sandbox):
        with removed_afterwards(side, say):
            answers.append(Replay(side=side, on_event=say).run(cases))
    return [
        Difference(case=case.name, step=f"{step.call} as {step.who}", aws=theirs, sandbox=ours)
        for case, of_aws, of_sandbox in zip(cases, *answers, strict=True)
        for step, theirs, ours in zip(case.steps, of_aws, of_sandbox, strict=True)
        if theirs != ours
    ]
