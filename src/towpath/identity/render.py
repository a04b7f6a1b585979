"""Plans and chains as a person reads them."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from towpath.chain.finding import Finding, LinkState, Severity
from towpath.chain.observed import Chain
from towpath.identity.plan import Change, Kind

MARKS: Final = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}
REMOVING: Final = frozenset(
    {Kind.DETACH_POLICY, Kind.DELETE_POLICY, Kind.DELETE_PROVIDER, Kind.DELETE_ROLE, Kind.DELETE_SERVICE_ACCOUNT}
)
LINK_COLUMN: Final = 21  # where a link's evidence begins
NARROWEST: Final = 24  # columns that evidence has to have there


def console() -> Console:
    """Text goes out whole: a terminal wraps it itself, and what is copied from it, or piped, has no line breaks of ours."""
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
    for line in chain_lines(states, out):
        out.print(line)
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


def hanging(text: str, indent: int, out: Console) -> str:
    """The text as it follows `indent` columns: on a terminal wrapped under itself, elsewhere in one line."""
    if not out.is_terminal:
        return text
    if out.width - indent < NARROWEST:  # beneath, nearly from the edge
        lines = textwrap.wrap(text, max(out.width - 5, NARROWEST), break_on_hyphens=False)
        return "".join(f"\n     {line}" for line in lines)
    lines = textwrap.wrap(text, out.width - indent, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def chain_lines(states: Sequence[LinkState], out: Console) -> Iterable[Text]:
    """One line for each link."""
    for state in states:
        mark, style = MARKS[state.ok]
        yield (
            Text(f"  {mark}  ", style=style)
            .append(f"{state.link:<{LINK_COLUMN - 5}}", style="bold" if state.ok is False else "default")
            .append(hanging(state.evidence, LINK_COLUMN, out), style="default" if state.ok is False else "dim")
        )


def one_finding(finding: Finding) -> Text:
    style = "red" if finding.severity is Severity.ERROR else "yellow"
    text = (
        Text(f"  {finding.severity} ", style=f"bold {style}")
        .append(f"{finding.link}: ", style="bold")
        .append(finding.message, style="default")
        .append("\n    seen:    ", style="bold")
        .append(finding.evidence, style="dim")
    )
    if finding.fix.towpath:
        text.append("\n    towpath: ", style="bold").append(finding.fix.towpath, style="cyan")
    return text.append("\n    by hand: ", style="bold").append(finding.fix.command, style="cyan")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
