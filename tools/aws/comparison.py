"""Both sides' answers beside each other, and the differences as a table."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tools.aws.cases import Case
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
            name for name in ("code", "message", "status") if getattr(self.aws, name) != getattr(self.sandbox, name)
        ]
        return " and ".join(parts)


def possible(cases: Sequence[Case], *, issuer: bool) -> tuple[list[Case], list[str]]:
    """The cases that can run, and for the others in words why not."""
    runs = [case for case in cases if issuer or not case.needs]
    skipped = [
        f"{case.name}: it needs {case.needs}, give --issuer-bucket" for case in cases if case.needs and not issuer
    ]
    return runs, skipped


def plan(cases: Sequence[Case], side: Side) -> list[str]:
    """What a run makes, in words."""
    roles = sum(len(case.roles) for case in cases)
    boundaries = sum(role.boundary is not None for case in cases for role in case.roles)
    return [
        f"account {side.account}, {side.region}: everything named {side.run}… and tagged towpath:test",
        f"1 bucket with 2 objects, {roles} roles with inline policies, {boundaries} managed policies as boundaries"
        + (", 1 OIDC provider" if side.issuer else ""),
        f"{sum(len(case.steps) for case in cases)} requests; those that are refused change nothing, the others stay in that bucket and those roles",
    ]


@contextmanager
def removed_afterwards(side: Side, say: Say) -> Generator[None]:
    """Whatever ends the block, Ctrl-C too, what the run made goes."""
    try:
        yield
    finally:
        say(f"{side.name}: removing {side.run}…")
        for line in sweep(side, run=side.run, on_event=say):
            say(f"{side.name}: NOT removed: {line}")
        side.close()


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
