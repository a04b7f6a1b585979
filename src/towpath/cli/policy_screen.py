"""Findings, decisions and presets as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from towpath.iam.decide import Decision, Outcome, StatementResult
from towpath.iam.lint import Finding, Severity
from towpath.iam.presets import PRESETS

STYLES: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
INDENT: Final = 11  # columns before what is said of a finding
TABLE: Final = 75  # columns from which on the presets stand in a table
OUTCOMES: Final = {
    Outcome.ALLOWED: ("✓ allowed", "bold green"),
    Outcome.IMPLICIT_DENY: ("✗ denied", "bold red"),
    Outcome.EXPLICIT_DENY: ("✗ denied explicitly", "bold red"),
}


def console() -> Console:
    """On a terminal its width; elsewhere one line for each thing said, for grep."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=10_000)


def checked(name: str, *, kind: str, size: int, limit: int | None, findings: Sequence[Finding]) -> None:
    out = console()
    length = f"{size} of {limit} characters" if limit else f"{size} characters"
    good = not any(finding.severity is not Severity.NOTE for finding in findings)
    out.print(
        Text("✓ " if good else "✗ ", style="green" if good else "red")
        .append(name, style="bold default")
        .append(f"  {kind} policy, {length}", style="dim default"),
        soft_wrap=True,
    )
    for finding in findings:
        _finding(
            out,
            Text(f"  {finding.severity:<{INDENT - 2}}", style=f"bold {STYLES[finding.severity]}"),
            Text(finding.path or "document", style="bold default").append(f"  {finding.rule}", style="dim"),
            (Text(finding.what, style="default"), Text(finding.instead, style="cyan")),
        )


def refused(name: str, *, where: str, reason: str) -> None:
    out = console()
    out.print(
        Text("✗ ", style="red")
        .append(name, style="bold default")
        .append("  IAM would not take it", style="dim default")
    )
    _finding(
        out,
        Text(f"  {'error':<{INDENT - 2}}", style="bold red"),
        Text(where, style="bold default"),
        (Text(reason, style="default"),),
    )


def _finding(out: Console, severity: Text, place: Text, sentences: Iterable[Text]) -> None:
    """Sentences stand under the place; on a terminal wrapped there, elsewhere in one line each."""
    if out.is_terminal and severity.cell_len + place.cell_len > out.width:  # the rule's name on a line of its own
        words, rule = place.plain.rsplit("  ", 1) if "  " in place.plain else (place.plain, "")
        out.print(severity + Text(words, style="bold default"), soft_wrap=True)
        place, severity = Text(rule, style="dim"), Text(" " * INDENT)
    if place.plain:
        out.print(severity + place, soft_wrap=True)
    for sentence in sentences:
        lines = sentence.wrap(out, max(out.width - INDENT, 20)) if out.is_terminal else (sentence,)
        for line in lines:
            line.rstrip()
            out.print(Text(" " * INDENT) + line, soft_wrap=True)


def decided(decision: Decision, *, notes: Iterable[str] = ()) -> None:
    out = console()
    words, style = OUTCOMES[decision.outcome]
    out.print(Text(words, style=style))
    out.print(Text(decision.reason.removeprefix("denied: ")))
    for note in notes:
        out.print(Text(note, style="yellow"))
    asked = decision.request
    who = asked.caller
    out.print()
    rows = [("action", asked.action)]
    if asked.resource != "*":
        rows.append(("resource", asked.resource))
    anybody = "whoever has these policies" if decision.policies.identity else "anonymous"
    rows.append(("caller", who.federated or who.service or who.arn or anybody))
    rows += [("context", f"{key} = {', '.join(asked.context.get(key.lower()))}") for key in asked.context]
    said = ""
    for name, value in rows:
        first = Text(f"{name if name != said else '':<{INDENT}}", style="bold")
        room = max(out.width - INDENT, 20)
        lines = Text(value).wrap(out, room, overflow="fold") if out.is_terminal else [Text(value)]
        for number, line in enumerate(lines):
            line.rstrip()
            out.print((Text(" " * INDENT) if number else first) + line, soft_wrap=True)
        said = name
    for policy, statements in _by_policy(decision.statements).items():
        out.print()
        out.print(_tree(policy, statements))


def _by_policy(statements: Iterable[StatementResult]) -> Mapping[str, list[StatementResult]]:
    out: dict[str, list[StatementResult]] = {}
    for statement in statements:
        out.setdefault(statement.policy, []).append(statement)
    return out


def _tree(policy: str, statements: Sequence[StatementResult]) -> Tree:
    tree = Tree(Text(policy, style="bold"), guide_style="dim")
    for statement in statements:
        label = f"Sid {statement.sid}" if statement.sid else f"statement {statement.index + 1}"
        applied = "denies" if statement.effect == "Deny" else "allows"
        branch = tree.add(
            _mark(statement.matched, red=statement.effect == "Deny")
            .append(f"{label} ", style="bold default")
            .append(applied if statement.matched else f"{statement.effect}, does not apply", style="dim")
        )
        for element in statement.elements:
            branch.add(
                _mark(element.matched)
                .append(f"{element.element}  ", style="default" if element.matched else "bold default")
                .append(
                    _without_name(element.element, element.why), style="dim default" if element.matched else "default"
                )
            )
    return tree


def _without_name(element: str, why: str) -> str:
    """A condition's sentence begins with the operator and key that stand before it here."""
    return why.removeprefix(element.removeprefix("Condition ") + ": ")


def _mark(matched: bool, *, red: bool = False) -> Text:
    return Text("✓ ", style="red" if red else "green") if matched else Text("✗ ", style="dim" if red else "red")


def presets() -> None:
    if console().is_terminal and console().width < TABLE:
        _listed()
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("preset", "what it is for", "needs", "takes"):
        table.add_column(name, overflow="fold")
    for name, preset in PRESETS.items():
        table.add_row(
            Text(name, style="bold"),
            preset.what,
            " ".join(f"--{option}" for option in preset.needs),
            " ".join(f"--{option}" for option in preset.takes),
        )
    console().print(table)


def _listed() -> None:
    """The presets one under the other, where columns would be too narrow for their words."""
    out = console()
    for name, preset in PRESETS.items():
        out.print(Text(name, style="bold"))
        rows = [("", preset.what), ("needs ", " ".join(f"--{option}" for option in preset.needs))]
        rows += [("takes ", " ".join(f"--{option}" for option in preset.takes))] if preset.takes else []
        for word, text in rows:
            for line in Text(word + text).wrap(out, max(out.width - 2, 20)):
                line.rstrip()
                out.print(Text("  ") + line, soft_wrap=True)


def as_json(decision: Decision) -> dict[str, Any]:
    """The decision for a script."""
    asked = decision.request
    return {
        "outcome": str(decision.outcome),
        "allowed": decision.allowed,
        "reason": decision.reason,
        "decidedBy": decision.decided_by,
        "request": {
            "action": asked.action,
            "resource": asked.resource,
            "caller": asked.caller.federated or asked.caller.service or asked.caller.arn,
            "context": {key: list(asked.context.get(key.lower())) for key in asked.context},
        },
        "statements": [
            {
                "policy": item.policy,
                "index": item.index,
                "sid": item.sid,
                "effect": item.effect,
                "matched": item.matched,
                "elements": [
                    {"element": element.element, "matched": element.matched, "why": element.why}
                    for element in item.elements
                ],
            }
            for item in decision.statements
        ],
    }
