"""Plans and chains as a person reads them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from towpath.chain.finding import Finding, LinkState, Severity
from towpath.chain.observed import Chain
from towpath.identity.plan import Change, Kind

MARKS: Final = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}
REMOVING: Final = frozenset(
    {Kind.DETACH_POLICY, Kind.DELETE_POLICY, Kind.DELETE_PROVIDER, Kind.DELETE_ROLE, Kind.DELETE_SERVICE_ACCOUNT}
)
WIDTH: Final = 120


def console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def changes(found: Sequence[Change], chain: Chain, *, nothing: str = "nothing to do: everything is as wanted") -> None:
    out = console()
    out.print(f"[bold]{chain.wanted.owner}[/bold] → {chain.role_arn}")
    if not found:
        out.print(f"  {nothing}", style="green")
    for change in found:
        sign, style = (
            ("-", "red")
            if change.kind in REMOVING
            else ("~", "yellow")
            if change.before is not None
            else ("+", "green")
        )
        line = (
            Text(f"  {sign} {change.kind} ", style=style)
            .append(change.target, style="bold")
            .append(f"  ({change.note})" if change.note else "", style="dim")
        )
        out.print(line)
        for text, colour in difference(change):
            out.print(Text(f"      {text}", style=colour))


def difference(change: Change) -> Iterable[tuple[str, str]]:
    """Lines of a diff between before and after, with their colours; of a long document only what differs and a little around."""
    if isinstance(change.before, dict) and isinstance(change.after, dict):
        lines = difflib.unified_diff(_json(change.before), _json(change.after), lineterm="", n=2)
        colours = {"+": "green", "-": "red", "@": "cyan"}
        return [(line, colours.get(line[:1], "dim")) for line in lines if not line.startswith(("---", "+++"))]
    value = change.after if change.after is not None else change.before
    if value is None or change.kind in {Kind.DELETE_ROLE, Kind.DELETE_POLICY, Kind.DELETE_SERVICE_ACCOUNT}:
        return []
    if isinstance(value, (dict, list)):
        return [(line, "dim") for line in _json(value)]
    return [(str(value), "dim")]


def _json(value: Any) -> list[str]:
    return json.dumps(value, indent=2, ensure_ascii=False).splitlines()


def done(change: Change) -> None:
    console().print(Text("  ✓ ", style="green").append(f"{change.kind} {change.target}"))


def kept(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        console().print(Text(f"  kept: {sentence}", style="dim"))


def links(states: Sequence[LinkState], chain: Chain) -> None:
    out = console()
    out.print(f"[bold]{chain.wanted.owner}[/bold] → {chain.role_arn}")
    out.print(chain_table(states))
    findings = [finding for state in states for finding in state.findings]
    for finding in sorted(findings, key=lambda item: item.severity is not Severity.ERROR):
        out.print()
        out.print(one_finding(finding))
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = len(findings) - errors
    if findings:
        out.print()
        out.print(
            Text(
                f"{_count(errors, 'error')}, {_count(warnings, 'warning')}",
                style="bold red" if errors else "bold yellow",
            )
        )


def chain_table(states: Sequence[LinkState]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for state in states:
        mark, style = MARKS[state.ok]
        table.add_row(
            Text(f"  {mark}", style=style),
            Text(str(state.link), style="bold" if state.ok is False else ""),
            Text(state.evidence, style="" if state.ok is False else "dim"),
        )
    return table


def one_finding(finding: Finding) -> Padding:
    style = "red" if finding.severity is Severity.ERROR else "yellow"
    text = (
        Text(f"{finding.severity} ", style=f"bold {style}")
        .append(f"{finding.link}: ", style="bold")
        .append(finding.message, style="default")
    )
    text.append("\n  seen:    ", style="bold").append(finding.evidence, style="dim")
    if finding.fix.towpath:
        text.append("\n  towpath: ", style="bold").append(finding.fix.towpath, style="cyan")
    text.append("\n  by hand: ", style="bold").append(finding.fix.command, style="cyan")
    return Padding(text, (0, 0, 0, 2))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
