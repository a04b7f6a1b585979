"""The call record as a table a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES: Final = {"allowed": "green", "denied": "red", "refused": "yellow"}


def calls(found: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000)  # one line for each call, for grep
    if not found:
        console.print("no calls yet")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time", "who", "action", "resource", "decision", "why"):
        table.add_column(name, overflow="fold", no_wrap=name in {"time", "decision"})
    for call in found:
        decision = str(call["decision"])
        table.add_row(
            str(call["time"])[11:23],
            _short(str(call["who"])),
            str(call["action"]),
            _short(str(call["resource"])),
            Text(decision, style=STYLES.get(decision, "")),
            f"{call['code']}: {call['why']}" if call["code"] else str(call["why"]),
        )
    console.print(table)


def _short(arn: str) -> str:
    """An ARN without its partition, service, region and account: what differs from row to row."""
    parts = arn.split(":", 5)
    return parts[5] if len(parts) == 6 and parts[0] == "arn" else arn
