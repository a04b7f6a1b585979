"""What flows through the agent: a sync to do, its attempts, and how one ended."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from towpath.errors import UsageError
from towpath.job.pipeline import Pipeline
from towpath.job.result import Result

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check_name(name: str) -> None:
    """An agent's name becomes part of its objects' names and a label. Raises UsageError."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not an agent's name: lower-case letters, digits and '-', at most 40",
            where="--name",
            todo="give a name as data or team-a",
        )


def check_namespace(name: str) -> None:
    """Raises UsageError for what Kubernetes takes for no namespace (RFC 1123 label, "Object Names and IDs")."""
    if not NAMESPACE.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a namespace: lower-case letters, digits and '-', at most 63",
            where="--namespace",
            todo="write it as kubectl shows it",
        )


@dataclass(frozen=True, kw_only=True)
class Sync:
    """One run of a pipeline. The same file asks for the same sync: its id is the pipeline's name and what it says."""

    id: str
    pipeline: Pipeline

    @classmethod
    def of(cls, pipeline: Pipeline, run: str = "") -> Sync:
        """`run` tells a repetition from the first; any text that was not used before."""
        content = f"{pipeline.model_dump_json()}\n{run}"
        return cls(id=f"{pipeline.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}", pipeline=pipeline)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a service account's annotations say of its pods' way into AWS. `token_expiration` is in seconds."""

    role_arn: str
    audience: str | None = None  # of the token; None: what the region's STS takes
    token_expiration: int | None = None  # None: the default


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try of a sync; numbers count from 1 and are never used twice."""

    sync: Sync
    number: int
    identity: Identity


class Phase(StrEnum):
    PENDING = "pending"  # no container yet
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DISRUPTED = "disrupted"  # the cluster took the pod away; costs no retry
    STOPPED = "stopped"  # somebody told it to stop

    @property
    def ended(self) -> bool:
        return self not in {Phase.PENDING, Phase.RUNNING}


@dataclass(frozen=True, kw_only=True)
class State:
    """Where an attempt stands. `code`, `what`, `todo` say what is wrong: why it ended, or why it does not begin."""

    phase: Phase
    code: str = ""
    what: str = ""
    todo: str = ""
    result: Result | None = None

    @property
    def trouble(self) -> bool:
        return bool(self.what) and not self.phase.ended


# Another try would end the same way: these wait for a person.
LASTING: Final = ("guard.", "usage", "service-account", "invalid")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How often a sync is tried again."""

    retries: int = 2
    disruptions: int = 20  # in a row; a cluster that takes every pod away is not asked for ever
    first_wait: float = 5.0  # seconds before the first retry, doubled each time
    longest_wait: float = 300.0


@dataclass(frozen=True, kw_only=True)
class History:
    """What the ledger knows of a sync: how many attempts were begun, and what they cost."""

    attempts: int = 0  # begun
    open: bool = False  # the last one has no outcome yet
    retries: int = 0  # charged
    disruptions: int = 0  # in a row
    last: str = ""  # the phase the last attempt ended in

    @property
    def finished(self) -> bool:
        return not self.open and self.last in {Phase.SUCCEEDED, Phase.FAILED} and self.attempts > 0


def after(history: History, state: State, limits: Limits) -> tuple[History, float | None]:
    """The history with this outcome, and the seconds until the next attempt; None when there is none. Pure."""
    if state.phase is Phase.DISRUPTED and history.disruptions < limits.disruptions:
        return _closed(history, state.phase, disruptions=history.disruptions + 1), 0.0
    if state.phase is Phase.FAILED and history.retries < limits.retries and not state.code.startswith(LASTING):
        wait = min(limits.first_wait * 2**history.retries, limits.longest_wait)
        # A failure that is tried again is no end of the sync.
        return _closed(history, "retrying", retries=history.retries + 1), wait
    ended = Phase.FAILED if state.phase is Phase.DISRUPTED else state.phase
    return _closed(history, ended), None


def _closed(history: History, last: str, *, retries: int | None = None, disruptions: int = 0) -> History:
    return History(
        attempts=history.attempts,
        open=False,
        retries=history.retries if retries is None else retries,
        disruptions=disruptions,
        last=str(last),
    )
