"""`towpath demo`: the whole chain on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end, until Ctrl-C.")] = False,
    directory: Annotated[Path, typer.Option("--directory", help="Where the report and the source database go.")] = Path(
        "demo"
    ),
) -> None:
    """Run everything here: an enforcing AWS, the identity chain, a pipeline under it, the proof, and three refusals."""
    from towpath.demo import main

    raise typer.Exit(main.run(directory, keep=keep))
