"""What each `towpath identity` command does, from resolved input to an exit status; the CLI only parses flags.

What only one command needs is imported there: `apply` is to be over before a person looks up.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from towpath import output_file, yaml_files
from towpath.chain.finding import LinkName, Severity
from towpath.chain.observed import Chain, Wanted
from towpath.errors import UsageError
from towpath.identity import render
from towpath.identity.apply import apply
from towpath.identity.observe import observe
from towpath.identity.plan import Change, plan
from towpath.identity.record import Record, default_directory
from towpath.identity.world import World, open_world


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the commands have in common."""

    wanted: tuple[Wanted, ...]
    kubeconfig: Path | None = None
    context: str | None = None
    state: Path | None = None
    as_json: bool = False

    def open(self, wanted: Wanted) -> World:
        return open_world(wanted, kubeconfig=self.kubeconfig, context=self.context)

    def record(self, chain: Chain) -> Record:
        return Record(self.state or default_directory(), chain)


def run_plan(options: Options, *, remove_bootstrap_trust: bool) -> int:
    changes: list[Change] = []
    for wanted in options.wanted:
        with working("observing", options):
            chain = observe(wanted, options.open(wanted), discovery=False)
        found = plan(chain, remove_bootstrap_trust=remove_bootstrap_trust)
        changes += found
        if not options.as_json:
            render.changes(found, chain)
    if options.as_json:
        print_json([change.model_dump(mode="json") for change in changes])
    return 0


def run_apply(options: Options, *, remove_bootstrap_trust: bool, yes: bool) -> int:
    made: list[Change] = []
    for wanted in options.wanted:
        world = options.open(wanted)
        with working("observing", options):
            chain = observe(wanted, world, discovery=False)
        changes = plan(chain, remove_bootstrap_trust=remove_bootstrap_trust)
        if not options.as_json:
            render.changes(changes, chain)
        if not changes:
            continue
        confirm(yes=yes, as_json=options.as_json)
        apply(changes, chain, world, options.record(chain), progress=None if options.as_json else render.done)
        made += changes
    if options.as_json:
        print_json([change.model_dump(mode="json") for change in made])
    return 0


def run_doctor(options: Options, *, saved: Sequence[Chain] = (), exchange: bool) -> int:
    from towpath.chain.diagnose import diagnose, links
    from towpath.identity.prove import prove

    chains = list(saved)
    for wanted in options.wanted if not saved else ():
        world = options.open(wanted)
        with working("looking at the chain", options):
            chain = observe(wanted, world)
            chains.append(prove(chain, world, patient=False) if exchange else chain)
    broken = False
    for chain in chains:
        findings = diagnose(chain)
        broken = broken or any(finding.severity is Severity.ERROR for finding in findings)
        if not options.as_json:
            render.links(links(chain), chain)
    if options.as_json:
        print_json([report(chain) for chain in chains])
    return 1 if broken else 0


def run_prove(options: Options) -> int:
    from towpath.chain.diagnose import links
    from towpath.identity.prove import prove

    failed = False
    chains: list[Chain] = []
    for wanted in options.wanted:
        world = options.open(wanted)
        with working("proving the chain with a real exchange", options):
            chain = prove(observe(wanted, world, discovery=False), world)
        chains.append(chain)
        proved = chain.exchange is not None and chain.exchange.ok and all(probe.ok for probe in chain.access or ())
        failed = failed or not proved
        if not options.as_json:
            states = (
                [state for state in links(chain) if state.link in {LinkName.EXCHANGE, LinkName.ACCESS}]
                if chain.exchange is not None
                else links(chain)
            )
            render.links(states, chain)
    if options.as_json:
        print_json([report(chain) for chain in chains])
    return 1 if failed else 0


def run_destroy(options: Options, *, yes: bool) -> int:
    from towpath.identity.destroy import plan_destroy, roles_trusting

    made: list[Change] = []
    for wanted in options.wanted:
        world = options.open(wanted)
        with working("observing", options):
            chain = observe(wanted, world, discovery=False)
            trusted_by = roles_trusting(world.aws, chain.provider_arn) if chain.provider is not None else ()
        record = options.record(chain)
        changes, kept = plan_destroy(chain, record, trusted_by=trusted_by)
        if not options.as_json:
            render.changes(changes, chain, nothing="nothing here is towpath's: nothing to destroy")
            render.kept(kept)
        if changes:
            confirm(yes=yes, as_json=options.as_json)
            apply(changes, chain, world, record, progress=None if options.as_json else render.done)
            made += changes
        record.forget()
    if options.as_json:
        print_json([change.model_dump(mode="json") for change in made])
    return 0


def run_observe(options: Options, *, out: Path | None) -> int:
    chains: list[Chain] = []
    for wanted in options.wanted:
        with working("observing", options):
            chains.append(observe(wanted, options.open(wanted)))
    text = json.dumps([chain.model_dump(mode="json") for chain in chains], indent=1)
    if out is None:
        print(text)
    else:
        output_file.write(out, text + "\n", noun="chain")
    return 0


def load(path: Path) -> list[Chain]:
    """Chains saved by `towpath identity observe --out`. Raises UsageError."""
    from pydantic import ValidationError

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [Chain.model_validate(item) for item in (found if isinstance(found, list) else [found])]
    except OSError as error:
        raise UsageError(
            f"cannot read the saved chain: {error.strerror}",
            where=str(path),
            todo="save one with `towpath identity observe --out FILE`",
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise UsageError(
            "the saved chain is not JSON as it was written",
            where=str(path),
            todo="save it again with `towpath identity observe --out FILE`",
        ) from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"the saved chain is not JSON: {error.msg[:1].lower()}{error.msg[1:]}",
            where=f"{path}, line {error.lineno}, column {error.colno}",
            todo="save it again with `towpath identity observe --out FILE`",
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"this is not a saved chain: {yaml_files.words(first)}",
            where=f"{path}, {yaml_files.place(first['loc'])}",
            todo="save it again with `towpath identity observe --out FILE`",
        ) from None


def report(chain: Chain) -> dict[str, object]:
    """A chain's links and findings for a script."""
    from towpath.chain.diagnose import diagnose, links

    return {
        "identity": chain.wanted.owner,
        "role": chain.role_arn,
        "links": [{"link": str(state.link), "ok": state.ok, "evidence": state.evidence} for state in links(chain)],
        "findings": [finding.model_dump(mode="json") for finding in diagnose(chain)],
    }


def print_json(value: object) -> None:
    print(json.dumps(value, indent=1))


def confirm(*, yes: bool, as_json: bool) -> None:
    """Raises UsageError where nobody can be asked, typer.Exit(1) where somebody said no."""
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise UsageError(
            "changes need a yes, and nobody can be asked here",
            where="--yes",
            todo="look at the plan, then run the same command with --yes",
        )
    import typer

    if not typer.confirm("make these changes?"):
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(1)


@contextmanager
def working(words: str, options: Options) -> Generator[None]:
    """A spinner on standard error while something takes its time; nothing where nobody watches."""
    if options.as_json or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(words):
        yield
