"""What towpath attached and took away, kept in a local file: tags cannot say who attached a policy to a role.

No secrets in it; mode 0600 all the same, written whole and put in place at once, so that a crash leaves the old or the new.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from towpath.chain.observed import Chain
from towpath.errors import WorldError


def default_directory() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "towpath"


class Record:
    """One identity's record in one account. Thread-safe; every change is on disk when the method returns."""

    def __init__(self, directory: Path, chain: Chain) -> None:
        key = f"{chain.wanted.partition}/{chain.account}/{chain.wanted.region}/{chain.wanted.owner}"
        self.path = directory / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
        self._lock = threading.Lock()
        self._content: dict[str, Any] = {"identity": key, "attached": [], "removedStatements": []}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except NotADirectoryError:
            raise WorldError(
                f"{directory} is not a directory", where="--state", todo="give a directory for the record with --state"
            ) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not the JSON that was written"
            raise WorldError(
                f"the record of what was attached cannot be read: {reason}",
                where=str(self.path),
                todo="restore it, or remove it: then only what is tagged as towpath's is undone",
            ) from None
        if found.get("identity") == key:
            self._content |= found

    @property
    def attached(self) -> tuple[tuple[str, str], ...]:
        """(role, policy ARN) of every attachment that is towpath's."""
        return tuple((str(item["role"]), str(item["policy"])) for item in self._content["attached"])

    @property
    def removed_statements(self) -> tuple[dict[str, Any], ...]:
        """Trust statements that were taken away on request, to be given back."""
        return tuple(self._content["removedStatements"])

    def attaching(self, role: str, policy: str) -> None:
        """Called before the attachment is made: one that a crash prevented is simply not there to be undone."""
        entry = {"role": role, "policy": policy}
        with self._lock:
            if entry not in self._content["attached"]:
                self._content["attached"].append(entry)
                self._write()

    def detached(self, role: str, policy: str) -> None:
        with self._lock:
            self._content["attached"] = [
                item for item in self._content["attached"] if item != {"role": role, "policy": policy}
            ]
            self._write()

    def removing(self, statements: list[dict[str, Any]]) -> None:
        with self._lock:
            for statement in statements:
                if statement not in self._content["removedStatements"]:
                    self._content["removedStatements"].append(statement)
            self._write()

    def forget(self) -> None:
        """The identity is undone: nothing is left to remember."""
        with self._lock:
            self.path.unlink(missing_ok=True)
            self._content |= {"attached": [], "removedStatements": []}

    def _write(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".record-")  # mkstemp makes it 0600
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(self._content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except OSError as error:
            raise WorldError(
                f"the record of what is attached cannot be written: {error.strerror}",
                where=str(self.path),
                todo="give a writable directory with --state",
            ) from None
