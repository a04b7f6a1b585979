"""Help that says of a flag that it takes no value."""

from __future__ import annotations

from typing import Any

import typer


def without_values(command: Any) -> None:
    """Of every flag of the command and those below it, help shows the name alone, not `<bool>`, which reads like a value."""
    # The one that every command gets is made on demand and kept.
    own = command.get_help_option(typer.Context(command))
    for option in [*command.params, *([own] if own is not None else [])]:
        if getattr(option, "is_flag", False) and option.metavar is None:
            option.metavar = ""
    for below in getattr(command, "commands", {}).values():
        without_values(below)
