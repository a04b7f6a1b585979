"""The demo's screen: steps with their time, the plan, the chain, and a summary worth reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from towpath.chain.finding import LinkState
from towpath.identity import render
from towpath.identity.plan import Change
from towpath.sandbox.main import Sandbox

if TYPE_CHECKING:
    from towpath.demo.main import Story


class Screen:
    """What a person watches. Where nobody does, the same lines without the spinner."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def title(self) -> None:
        self._console.print(
            Panel(
                Text(
                    "a service account becomes an IAM role, and a pipeline runs under it: no key anywhere",
                    justify="center",
                ),
                title="towpath demo",
                border_style="cyan",
            )
        )

    def say(self, text: str) -> None:
        self._line(Text("    "), text, "dim", indent=4)

    def _line(self, start: Text, text: str, style: str, *, indent: int) -> None:
        self._console.print(start.append(render.hanging(text, indent, self._console), style=style), soft_wrap=True)

    @contextmanager
    def step(self, words: str) -> Generator[None]:
        """A spinner while it lasts, then a line with the time it took. Nothing else may be printed inside."""
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(words):
                yield
        else:
            yield
        self._done(words, started)

    def _done(self, words: str, started: float) -> None:
        self._console.print(
            Text("  ✓ ", style="green")
            .append(words, style="default")
            .append(f"  {time.monotonic() - started:.1f} s", style="dim")
        )

    @contextmanager
    def moving(self, name: str) -> Generator[Callable[[Mapping[str, Any]], None]]:
        """Progress of an attempt: rows by table, as its own log tells them."""
        rows: dict[str, int] = {}
        started = time.monotonic()
        with self._console.status(f"running pipeline {name}") as status:

            def on_event(event: Mapping[str, Any]) -> None:
                if event.get("event") == "guarded":
                    status.update(f"pipeline {name}: guard passed, {_short(str(event.get('role')))}")
                elif event.get("event") == "progress":
                    rows[str(event["table"])] = int(event["rows"])
                    status.update(f"pipeline {name}: {sum(rows.values()):,} rows read")

            yield on_event
        self._done(f"pipeline {name}: SQLite → Parquet on S3, under the assumed role", started)

    def plan(self, changes: Sequence[Change]) -> None:
        for change in changes:
            sign, style = ("~", "yellow") if change.before is not None else ("+", "green")
            line = Text(f"      {sign} {change.kind} ", style=style).append(_short(change.target), style="bold")
            self._console.print(line, soft_wrap=True)

    def chain(self, states: Sequence[LinkState]) -> None:
        for line in render.chain_lines(states, self._console):
            self._console.print(line, soft_wrap=True)

    def summary(self, story: Story, report: Path) -> None:
        rows = Table(box=None, padding=(0, 2))
        rows.add_column("table")
        rows.add_column("rows, source = S3", justify="right")
        for table, number in story.rows.items():
            rows.add_row(table, f"{number:,}")
        self._console.print()
        self._console.print(rows)
        self._console.print("\n  [bold]refused[/bold], each different from the exchange above in one thing")
        for item in story.refusals:
            self._line(Text("  ✗ ", style="red"), item.case, "default", indent=4)
            self._line(Text("    "), f"{item.code}: {item.message}", "red", indent=4)
            self._line(Text("    "), item.why, "dim", indent=4)
        seconds = time.monotonic() - story.started
        whole = sum(state.ok is True for state in story.chain)
        words = (
            f"{whole} of {len(story.chain)} links proved · {sum(story.rows.values()):,} rows moved and counted"
            f" · {len(story.refusals)} refusals · {seconds:.0f} s\nreport: {report}"
        )
        self._console.print()
        self._console.print(Panel(Text(words, justify="center"), border_style="green"))

    def how_to_look(self, sandbox: Sandbox, bucket: str) -> None:
        """What to type in another terminal while it all still runs."""
        lines = [f"export {name}={value}" for name, value in sandbox.environment().items()]
        lines += [
            f"aws s3 ls --recursive s3://{bucket}/raw/",
            "towpath identity doctor --manifest demo/towpath.yaml",
            "towpath sandbox calls",
        ]
        self._console.print("everything is still running; in another terminal:\n", style="bold")
        for line in lines:
            self._console.print(Text(f"  {line}"), soft_wrap=True)
        self._console.print("\nCtrl-C stops it", style="bold")


def _short(target: str) -> str:
    return target.split(":", 5)[-1] if target.startswith("arn:") else target
