"""The call record: who asked for what, on which resource, what was decided, and why."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Final

KEPT: Final = 10_000  # calls; the oldest go first


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call as the gate saw it. `decision` is allowed, denied or refused (refused: it never came to a decision)."""

    number: int
    time: str  # RFC 3339, UTC
    who: str  # the principal's ARN, a service account's subject, or "anonymous"
    service: str
    action: str  # as IAM names it: s3:PutObject
    resource: str
    decision: str
    why: str
    status: int
    code: str  # AWS's error code, "" when there is none


class Record:
    """The last calls, in memory, in order."""

    def __init__(self, kept: int = KEPT) -> None:
        self._calls: deque[Call] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self._next = 1

    def add(self, **fields: Any) -> Call:
        with self._lock:
            call = Call(number=self._next, **fields)
            self._next += 1
            self._calls.append(call)
        return call

    def after(self, number: int) -> list[Call]:
        with self._lock:
            return [call for call in self._calls if call.number > number]

    def as_json(self, after: int = 0) -> list[dict[str, Any]]:
        return [asdict(call) for call in self.after(after)]
