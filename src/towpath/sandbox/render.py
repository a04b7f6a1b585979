"""The call record as a person reads it: a table of what was, and lines that go on as calls come in."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from towpath.sandbox.client import SandboxClient

STYLES: Final = {"allowed": "green", "denied": "red", "refused": "yellow", "injected": "magenta"}
WAIT: Final = 20.0  # seconds one look waits for the next call
WIDE: Final = 110  # columns from which on there is room for why a call was allowed
TABLE: Final = 140  # columns from which on the whole reason has a column of its own
LONGEST_ACTION: Final = len("sts:AssumeRoleWithWebIdentity")
DETAIL: Final = 10  # columns before the second line of a call, where the reason of a refusal stands


def selected(
    calls: Iterable[Mapping[str, Any]], *, denied: bool = False, who: str | None = None, action: str | None = None
) -> list[Mapping[str, Any]]:
    """Calls that were not allowed, whose caller contains `who`, whose action matches the pattern; case does not count."""
    return [
        call
        for call in calls
        if not (denied and call["decision"] == "allowed")
        and (who is None or who.lower() in str(call["who"]).lower())
        and (action is None or fnmatchcase(str(call["action"]).lower(), action.lower()))
    ]


def calls(found: Sequence[Mapping[str, Any]], console: Console | None = None, *, of: int = 0) -> None:
    """`of`: how many there are before any selection."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000)  # one line for each call, for grep
    if not found:
        console.print(f"none of {of} {'call' if of == 1 else 'calls'} is one of these" if of else "no calls yet")
        return
    if console.is_terminal and console.width < TABLE:
        console.print(heading(console.width))
        for call in found:
            console.print(*drawn(call, console.width), sep="\n")
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
            why(call),
        )
    console.print(table)


def why(call: Mapping[str, Any]) -> str:
    """AWS's code, where there is one, and the reason; that it was denied the code says already."""
    return f"{call['code']}: {str(call['why']).removeprefix('denied: ')}" if call["code"] else str(call["why"])


def follow(
    client: SandboxClient,
    *,
    last: int,
    as_json: bool,
    denied: bool = False,
    who: str | None = None,
    action: str | None = None,
    console: Console | None = None,
) -> None:
    """The newest `last` calls and every one after them, until Ctrl-C. Raises SandboxError when the sandbox goes away."""
    console = console or Console(highlight=False)
    begin = client.calls()
    number = begin[-1]["number"] if begin else 0
    shown = selected(begin, denied=denied, who=who, action=action)[-last:]
    if as_json or not console.is_terminal:
        _pour(client, shown, number, as_json=as_json, keep={"denied": denied, "who": who, "action": action})
        return
    screen = _Screen(console)
    with Live(console=console, auto_refresh=False, screen=False, vertical_overflow="crop") as live:
        screen.add(shown)
        live.update(screen.drawn(), refresh=True)
        while True:
            new = client.calls(number, wait=WAIT)
            if new:
                screen.missed += new[0]["number"] - number - 1
                number = new[-1]["number"]
                screen.add(selected(new, denied=denied, who=who, action=action))
            live.update(screen.drawn(), refresh=True)


def _pour(
    client: SandboxClient, shown: Sequence[Mapping[str, Any]], number: int, *, as_json: bool, keep: Mapping[str, Any]
) -> None:
    """Line by line, each flushed, for a pipe."""
    while True:
        for call in shown:
            sys.stdout.write((json.dumps(call) if as_json else line(call)) + "\n")
        sys.stdout.flush()
        new = client.calls(number, wait=WAIT)
        if new and new[0]["number"] > number + 1:
            sys.stderr.write(
                f"{new[0]['number'] - number - 1} calls came faster than they could be read, and are gone\n"
            )
        number = new[-1]["number"] if new else number
        shown = selected(new, **keep)


def line(call: Mapping[str, Any]) -> str:
    """One call in one line, without colour."""
    return (
        f"{str(call['time'])[11:23]}  {call['decision']:<8}  {_short(str(call['who'])):<32}  {call['action']:<30}  "
        f"{_short(str(call['resource']))}  {why(call)}"
    )


class _Screen:
    """The last lines that fit, under a heading and above a count."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._calls: deque[Mapping[str, Any]] = deque(maxlen=500)
        self._counts: dict[str, int] = {}
        self.missed = 0

    def add(self, found: Iterable[Mapping[str, Any]]) -> None:
        for call in found:
            self._calls.append(call)
            self._counts[str(call["decision"])] = self._counts.get(str(call["decision"]), 0) + 1

    def drawn(self) -> Group:
        width, height = self._console.width, self._console.height
        room = max(height - 3, 1)  # heading, count, and the line the cursor stands in
        lines: list[Text] = []
        for call in reversed(self._calls):
            lines = [*drawn(call, width), *lines]
            if len(lines) >= room:
                break
        return Group(heading(width), *lines[-room:], self._footer())

    def _footer(self) -> Text:
        words = [f"{number} {word}" for word, number in self._counts.items()] or ["no calls yet"]
        if self.missed:
            words.append(f"{self.missed} came faster than they could be read")
        return Text(" · ".join([*words, "Ctrl-C ends"]), style="dim", no_wrap=True, overflow="ellipsis")


def _columns(width: int) -> tuple[int, int, int, int]:
    """Columns of who, action, resource and why; why has none on a narrow terminal."""
    rest = width - 8 - 8 - 2 * 4  # time, decision, and two blanks after each column but the last
    if width < WIDE:
        who, action = rest * 3 // 10, rest * 35 // 100
        return who, action, rest - who - action, 0
    rest -= 2
    who, action = min(rest * 2 // 10, 34), LONGEST_ACTION
    resource = (rest - who - action) * 6 // 10
    return who, action, resource, rest - who - action - resource


def heading(width: int) -> Text:
    who, action, resource, reason = _columns(width)
    words = [("time", 8), ("who", who), ("action", action), ("resource", resource), ("decision", 8), ("why", reason)]
    return _row([(Text(word), size) for word, size in words if size], style="bold")


def drawn(call: Mapping[str, Any], width: int) -> list[Text]:
    """A call in lines of at most `width` columns: one, and of a call that was not allowed the whole reason beneath it."""
    who, action, resource, reason = _columns(width)
    decision = str(call["decision"])
    allowed = decision == "allowed"
    cells = [
        (Text(str(call["time"])[11:19], style="dim"), 8),
        (Text(_short(str(call["who"]))), who),
        (_middle(str(call["action"]), action, style="bold"), action),
        (_middle(_short(str(call["resource"])), resource), resource),
        (Text(decision, style=STYLES.get(decision, "")), 8),
        (Text(_granted_by(call) if allowed else "", style="dim"), reason),
    ]
    lines = [_row([cell for cell in cells if cell[1]])]
    if not allowed:
        text = Text(why(call), style=STYLES.get(decision, ""))
        console = Console(width=max(width - DETAIL, 20))
        for part in text.wrap(console, max(width - DETAIL, 20), overflow="fold"):
            part.rstrip()
            lines.append(Text(" " * DETAIL) + part)
    return lines


def _row(cells: Sequence[tuple[Text, int]], *, style: str = "") -> Text:
    out = Text(style=style, no_wrap=True, overflow="crop", end="\n")
    for index, (text, size) in enumerate(cells):
        cell = text.copy()
        cell.truncate(size, overflow="ellipsis", pad=True)
        out.append_text(cell)
        if index < len(cells) - 1:
            out.append("  ")
    out.rstrip()
    return out


def _middle(text: str, size: int, *, style: str = "") -> Text:
    """Of a long resource the bucket and the end of the key: what is alike in every row is left out of the middle."""
    if len(text) <= size or size < 12:
        return Text(text, style=style)
    head = min(len(text.partition("/")[0]) + 1, size // 2)
    return Text(f"{text[:head]}…{text[-(size - head - 1) :]}", style=style)


def _granted_by(call: Mapping[str, Any]) -> str:
    """Which statement allowed it; of what was allowed and then not found, the code."""
    return str(call["code"]) or str(call["why"]).partition(" allows ")[0]


def _short(arn: str) -> str:
    """An ARN without its partition, service, region and account: what differs from row to row."""
    parts = arn.split(":", 5)
    text = parts[5] if len(parts) == 6 and parts[0] == "arn" else arn
    return text.removeprefix("assumed-role/").removeprefix("system:serviceaccount:")
