"""An attempt's story: read what is asked, prove who we are, move the data, say how it went."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from pydantic import ValidationError

from towpath.errors import TowpathError, UsageError
from towpath.job import result as results
from towpath.job.attempt import AttemptSpec
from towpath.job.guard import GuardRefusal, guard
from towpath.job.result import Failure, Result

SPEC: Final = "TOWPATH_ATTEMPT"
RESULT: Final = "TOWPATH_RESULT"
TERMINATION_LOG: Final = "/dev/termination-log"


class Stopped(BaseException):
    """SIGTERM: the attempt was told to stop. Not an Exception, so that nothing between takes it for a failure of its own."""


def main() -> int:
    """0 only with a result of success written."""
    started = time.monotonic()
    logging.disable(
        logging.ERROR
    )  # libraries' own lines; what matters is said here, and nothing of a URL or token can slip out
    signal.signal(signal.SIGTERM, _stop)
    where = Path(os.environ.get(RESULT, TERMINATION_LOG))
    try:
        spec = _read_spec()
    except UsageError as error:
        return _end(Result(status="failed", sync="", attempt=0, error=_failure(error)), where)
    role = ""
    try:
        say("guard")
        role = guard(spec)
        say("guarded", role=role)
        with tempfile.TemporaryDirectory(prefix="towpath-") as directory:
            from towpath.job.move import move

            moved = move(
                spec, directory=Path(directory), progress=lambda table, rows: say("progress", table=table, rows=rows)
            )
    except TowpathError as error:
        return _end(_result(spec, "failed", started, role, error=_failure(error)), where)
    except (Stopped, KeyboardInterrupt):
        stopped = Failure(
            code="stopped", what="the attempt was told to stop", todo="nothing: another attempt is made when one is due"
        )
        return _end(_result(spec, "stopped", started, role, error=stopped), where)
    except Exception as error:
        unexpected = Failure(
            code="unexpected",
            what=f"{type(error).__name__}: {str(error)[:400]}",
            where="towpath.job",
            todo="please report this with the log",
        )
        return _end(_result(spec, "failed", started, role, error=unexpected), where)
    line = results.detail_line(list(moved.tables))
    print(line, file=sys.stderr, flush=True)
    total = sum(item.rows for item in moved.tables)
    done = _result(spec, "succeeded", started, role).model_copy(
        update={"rows": total, "bytes": moved.bytes, "tables": len(moved.tables), "digest": results.digest(line)}
    )
    return _end(done, where)


def say(event: str, **fields: object) -> None:
    """One line of progress: JSON on standard error."""
    print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)


def _read_spec() -> AttemptSpec:
    given = os.environ.get(SPEC, "")
    try:
        # A pod is given the document itself, a local process a file with it.
        return AttemptSpec.model_validate_json(given if given.startswith("{") else Path(given).read_bytes())
    except OSError as error:
        raise UsageError(
            f"the attempt cannot be read: {error.strerror}",
            where=f"{SPEC}={given}",
            todo="launch the job through the agent",
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"the attempt is not valid: {first['msg']}",
            where=".".join(map(str, first["loc"])),
            todo="launch it by an agent of the same version",
        ) from None


def _result(spec: AttemptSpec, status: str, started: float, role: str, *, error: Failure | None = None) -> Result:
    return Result.model_validate(
        {
            "status": status,
            "sync": spec.sync,
            "attempt": spec.attempt,
            "seconds": round(time.monotonic() - started, 3),
            "role": role,
            "error": error,
        }
    )


def _failure(error: TowpathError) -> Failure:
    code = error.finding.code if isinstance(error, GuardRefusal) else "usage" if isinstance(error, UsageError) else ""
    return Failure(code=code, what=error.what, where=error.where, todo=error.todo)


def _end(result: Result, where: Path) -> int:
    try:
        results.write(result, where)
    except OSError as error:
        say("no result", problem=f"cannot write {where}: {error.strerror}")
        return 1
    return 0 if result.status == "succeeded" else 1


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped
