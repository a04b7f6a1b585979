"""What the agent says while it works: a table that lives on a terminal, a line for each change elsewhere, JSON for a script."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from towpath.agent.messages import Report
from towpath.agent.work import History, Phase, Sync

STYLES: Final = {
    Phase.PENDING: "yellow",
    Phase.RUNNING: "cyan",
    Phase.SUCCEEDED: "green",
    Phase.FAILED: "red",
    Phase.DISRUPTED: "magenta",
    Phase.STOPPED: "dim",
}
MARKS: Final = {
    Phase.PENDING: "·",
    Phase.RUNNING: "▸",
    Phase.SUCCEEDED: "✓",
    Phase.FAILED: "✗",
    Phase.DISRUPTED: "↻",
    Phase.STOPPED: "–",
}
ROWS: Final = 20  # of the table: what moves comes first


class Screen:
    """Reports come from the agent's one loop. The table shows what changed last; every line stays above it."""

    def __init__(self, *, as_json: bool, syncs: Sequence[Sync]) -> None:
        self._json = as_json
        self._console = Console(highlight=False)
        self._total = len(syncs)
        self._latest: dict[str, Report] = {}
        self._began: dict[str, float] = {}  # an attempt's job -> monotonic seconds
        self._took: dict[str, float] = {}
        self._live: Live | None = None
        if not as_json and self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def report(self, report: Report) -> None:
        self._latest[report.sync] = report
        began = self._began.setdefault(report.job, time.monotonic())
        if report.state.phase.ended:
            self._took[report.job] = time.monotonic() - began
        if self._json:
            print(json.dumps(as_dict(report)), flush=True)
        elif report.state.phase.ended or report.state.what or self._live is None:
            # On a terminal wrapped at words; elsewhere one change is one line.
            self._console.print(line(report), soft_wrap=not self._console.is_terminal)

    def summary(self, histories: Mapping[str, History]) -> None:
        if self._json:
            return
        ended = [history.last for history in histories.values()]
        words = [
            f"{ended.count(phase)} {phase}"
            for phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED)
            if phase in ended
        ]
        rest = sum(last not in {Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED} for last in ended)
        words += [f"{rest} not done"] if rest else []
        self._console.print(Text(f"{len(ended)} syncs: {', '.join(words)}", style="bold"))

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
        for name in ("", "sync", "attempt", "state", "for"):
            table.add_column(name, no_wrap=name != "state", overflow="ellipsis")
        done = sum(report.state.phase.ended and report.again_in is None for report in self._latest.values())
        moving = sorted(self._latest.values(), key=lambda item: (item.state.phase.ended, -self._began[item.job]))
        for report in moving[:ROWS]:
            state = report.state
            style = "red" if state.trouble else STYLES[state.phase]
            table.add_row(
                Text(MARKS[state.phase], style=style),
                report.sync,
                str(report.attempt),
                Text(state.what or _rows(report) or str(state.phase), style=style),
                f"{self._took.get(report.job, time.monotonic() - self._began[report.job]):.0f} s",
            )
        table.caption = f"{done} of {self._total} done"
        table.caption_justify = "left"
        return table


def line(report: Report) -> Text:
    """One change as a line."""
    state = report.state
    style = "yellow" if state.trouble else STYLES[state.phase]
    text = Text(f"{datetime.now().astimezone():%H:%M:%S} ", style="dim")
    text.append(f"{MARKS[state.phase]} {report.sync} ", style=style).append(f"attempt {report.attempt}  ", style="dim")
    text.append(str(state.phase), style=style)
    if state.what:
        text.append(f": {state.what}")
    elif state.result is not None and state.phase is Phase.SUCCEEDED:
        text.append(f": {_rows(report)}")
    if state.todo:
        text.append(f"\n           do: {state.todo}", style="cyan")
    if report.again_in is not None:
        text.append(
            f"\n           again in {report.again_in:.0f} s" if report.again_in else "\n           again at once",
            style="dim",
        )
    return text


def as_dict(report: Report) -> dict[str, object]:
    state = report.state
    out: dict[str, object] = {
        "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "sync": report.sync,
        "attempt": report.attempt,
        "job": report.job,
        "phase": str(state.phase),
    }
    out |= {key: value for key, value in (("code", state.code), ("what", state.what), ("todo", state.todo)) if value}
    if state.result is not None:
        out["result"] = state.result.model_dump(exclude_none=True)
    if report.again_in is not None:
        out["againIn"] = report.again_in
    return out


def _rows(report: Report) -> str:
    result = report.state.result
    if result is None:
        return ""
    return (
        f"{result.rows:,} rows of {result.tables} tables in {result.seconds:.1f} s, as {result.role.rpartition(':')[2]}"
    )
