"""What goes through the agent's inbox beside what the watches see, and what it tells of an attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from towpath.agent.kubernetes.names import job_name
from towpath.agent.work import History, Phase, State


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the agent says of an attempt, whenever it changes."""

    sync: str
    attempt: int
    job: str
    state: State
    again_in: float | None = None  # seconds, when another attempt follows


@dataclass(kw_only=True)
class Running:
    """An attempt under way, and what was last seen of it."""

    sync: str
    number: int
    began: float  # monotonic seconds
    state: State = field(default_factory=lambda: State(phase=Phase.PENDING))
    job: Mapping[str, Any] | None = None
    pod: Mapping[str, Any] | None = None
    events: list[Mapping[str, Any]] = field(default_factory=list)
    created: bool = False
    ending: bool = False  # the outcome is being written down

    @property
    def name(self) -> str:
        return job_name(self.sync, self.number)


@dataclass(frozen=True, kw_only=True)
class Created:
    name: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Written down, and so told; the Job is still there."""

    name: str
    history: History
    state: State
    again_in: float | None


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """The end of an attempt, after which the sync's next one may begin."""

    name: str
    again_in: float | None


@dataclass(frozen=True, kw_only=True)
class Gone:
    """The live API has no such Job any more."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Stop:
    leave: bool  # the Jobs, for the next agent to adopt
