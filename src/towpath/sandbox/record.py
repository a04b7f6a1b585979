"""The call record: who asked for what, on which resource, what was decided, and why."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

KEPT: Final = 10_000  # calls; the oldest go first
NEEDS_KEPT: Final = 50_000  # permissions of all kept calls together: one DeleteObjects can need a thousand


@dataclass(frozen=True, kw_only=True)
class Needed:
    """One permission that a call needed, with the condition keys that only this call could tell."""

    action: str
    resource: str
    context: Mapping[str, Any]
    allowed: bool = (
        True  # false: refused, while the call went on without it (one key of DeleteObjects) or ended with it
    )


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call as the gate saw it.

    `decision` is allowed, denied, refused (for another reason than a missing permission) or injected (an error asked for with --fail).
    An allowed call can have a `code`: the object was not there. `needs` are the permissions that were asked about, in order: of an
    allowed call all, of a denied one up to the one that was missing.
    """

    number: int
    at: float  # seconds since 1970
    who: str  # the principal's ARN, a service account's subject, or "anonymous"
    service: str
    action: str  # as IAM names it: s3:PutObject
    resource: str
    decision: str
    why: str
    status: int
    code: str  # AWS's error code, "" when there is none
    needs: tuple[Needed, ...] = ()

    @property
    def time(self) -> str:
        """RFC 3339, UTC."""
        return datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def as_json(self) -> dict[str, Any]:
        fields = asdict(self)
        del fields["at"]
        return {"number": fields.pop("number"), "time": self.time, **fields}


class Record:
    """The last calls, in memory, in order. Their numbers go up by one, so that a reader sees a gap."""

    def __init__(self, kept: int = KEPT, needs_kept: int = NEEDS_KEPT) -> None:
        self._calls: deque[Call] = deque()
        self._kept = kept
        self._needs_kept = needs_kept
        self._needs = 0
        self._changed = threading.Condition()
        self._next = 1
        self._closed = False

    def add(self, **fields: Any) -> Call:
        with self._changed:
            call = Call(number=self._next, **fields)
            self._next += 1
            self._calls.append(call)
            self._needs += len(call.needs)
            # The newest stays, whatever it needed.
            while len(self._calls) > self._kept or (self._needs > self._needs_kept and len(self._calls) > 1):
                self._needs -= len(self._calls.popleft().needs)
            self._changed.notify_all()
        return call

    def after(self, number: int, *, wait: float = 0) -> list[Call]:
        """The kept calls with a higher number. When there are none, waits up to `wait` seconds for one."""
        deadline = time.monotonic() + wait
        with self._changed:
            while self._next <= number + 1 and not self._closed and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            first = self._next - len(self._calls)
            return list(islice(self._calls, max(0, number + 1 - first), None))

    def clear(self) -> None:
        """Forget the calls; the numbers go on."""
        with self._changed:
            self._calls.clear()
            self._needs = 0

    def close(self) -> None:
        """Wake everybody who waits: nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def as_json(self, after: int = 0, *, wait: float = 0) -> list[dict[str, Any]]:
        return [call.as_json() for call in self.after(after, wait=wait)]
