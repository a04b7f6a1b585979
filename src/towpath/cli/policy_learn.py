"""`towpath policy learn`: the least policy that a run needs, from the sandbox's record of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from towpath import output_file
from towpath.cli.policy_files import json_text, text_of


def learn(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND…]", help="With --verify: what to run.")
    ] = None,
    record: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="A saved record (calls --json). Default: the running sandbox's."),
    ] = None,
    principal: Annotated[
        str | None,
        typer.Option("--principal", metavar="ROLE", help="Whose calls: a role or user, by name or ARN; or root."),
    ] = None,
    since: Annotated[int, typer.Option("--since", metavar="N", min=0, help="Only calls after number N.")] = 0,
    generalise: Annotated[
        list[str] | None,
        typer.Option(
            "--generalise",
            metavar="PREFIX/|prefix",
            help="Fold keys under PREFIX/ into it, or each to the directory they share. Repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write it. Default: print it.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Run COMMAND as a job in a sandbox: once under everything, once under what it needed."
        ),
    ] = False,
    setup: Annotated[
        str | None, typer.Option("--setup", metavar="SHELL", help="With --verify: makes what COMMAND expects to find.")
    ] = None,
) -> None:
    """The least policy that allows what a run did, from the sandbox's record of it.

    With --verify ends with 1 when the second run failed, or was refused anything the first was not.
    """
    from towpath.errors import UsageError
    from towpath.iam import learn as learning
    from towpath.iam import lint
    from towpath.iam.policy import PolicyKind

    fold = tuple(generalise or ())
    if fold != learning.AUTOMATIC and (bad := [text for text in fold if not text.endswith("/")]):
        raise UsageError(
            f"{bad[0]!r} is no way to generalise",
            where="--generalise",
            todo="write --generalise raw/, or --generalise prefix alone",
        )
    words = command or []
    if out is not None:
        _writable(out)
    holds = True
    if verify:
        document, holds = _verified(words, setup=setup, role=principal or "learned", fold=fold)
    elif words or setup:
        raise UsageError("a command is run only to verify", where="towpath policy learn", todo="add --verify")
    elif principal is None:
        raise UsageError("no principal is named", where="--principal", todo="give a role's name, or root")
    else:
        calls = _record(record)
        seen = learning.observe(calls, principal=principal, after=since)
        document = learning.policy(seen.permissions, generalise=fold)
        _say(
            f"{_count(seen.calls, 'allowed call')} of {principal} {'needs' if seen.calls == 1 else 'need'} {_actions(document)}"
        )
        if seen.first is not None and seen.first > since + 1:
            _say(f"the record begins with call {seen.first}: what was before is not in the policy")
        if seen.refused:
            were = "was" if len(seen.refused) == 1 else "were"
            _say(
                f"{_count(len(seen.refused), 'call')} {were} refused, and not learned from: towpath sandbox calls --denied"
            )
    text = json_text(document)
    if (limit := lint.longest(PolicyKind.IDENTITY)) and (size := lint.size(document)) > limit:
        _say(f"it has {size} characters, and IAM takes {limit}" + ("" if fold else ": try --generalise"))
    if out is None:
        typer.echo(text)
    else:
        output_file.write(out, text + "\n", noun="policy")
    raise typer.Exit(0 if holds else 1)


def _writable(out: Path) -> None:
    """Raises UsageError now for what would be found out only after two runs."""
    if out.is_dir() or not out.parent.is_dir():
        output_file.write(out, "", noun="policy")


def _verified(words: list[str], *, setup: str | None, role: str, fold: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
    from towpath.errors import UsageError
    from towpath.sandbox import learning, render

    if not words:
        raise UsageError("there is nothing to run", where="--verify", todo="give a command after --")
    found = learning.learn_by_running(learning.Job(command=words, setup=setup, role=role), generalise=fold)
    document = dict(found.policy)
    _say(
        f"run 1, everything allowed: status {found.first.status}, {_count(found.first.seen.calls, 'call')} "
        f"{'needs' if found.first.seen.calls == 1 else 'need'} {_actions(document)}"
    )
    refused = found.second.seen.refused
    _say(
        f"run 2, the learned policy alone: status {found.second.status}, {_count(found.second.seen.calls, 'call')} allowed, "
        + (f"{len(refused)} refused" if refused else "nothing refused")
    )
    for call in refused:
        _say("  " + render.line(call))
    if not found.holds and not fold:
        _say("keys that differ from run to run need --generalise")
    return document, found.holds


def _actions(document: dict[str, Any]) -> str:
    found = {
        action
        for item in document["Statement"]
        for action in ([item["Action"]] if isinstance(item["Action"], str) else item["Action"])
    }
    return _count(len(found), "action")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _record(file: str | None) -> list[dict[str, Any]]:
    """The calls: a JSON list, an object that holds one, or one call a line, as `calls --follow --json` writes them."""
    import json

    from towpath.errors import UsageError

    if file is None:
        from towpath.sandbox import client

        return client.from_environment().calls()
    text = text_of(file)
    try:
        value = json.loads(text)
    except RecursionError:
        value = None
    except ValueError:
        try:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            value = None
    if isinstance(value, dict):
        value = value.get("calls", [value])
    if not isinstance(value, list) or not all(isinstance(call, dict) for call in value):
        raise UsageError("it is no call record", where=file, todo="make one: towpath sandbox calls --json --last 10000")
    return value


def _say(text: str) -> None:
    typer.echo(text, err=True)
