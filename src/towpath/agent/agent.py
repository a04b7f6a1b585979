"""The agent's core: one loop over one inbox decides; hands (hands.py) carry things out and put what came of it into the inbox.

For each sync: claim (written into the ledger), create the Job, watch it, write its outcome down, delete it. Each step is written
before the next is taken, so that an agent that is killed anywhere goes on from there: see `_adopt`.
"""

from __future__ import annotations

import heapq
import queue
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from towpath.agent.hands import Hands
from towpath.agent.kubernetes import judge as judging
from towpath.agent.kubernetes.cluster import Cluster
from towpath.agent.kubernetes.job import AGENT, ATTEMPT, SYNC, job_manifest
from towpath.agent.kubernetes.names import job_name, label_value
from towpath.agent.kubernetes.settings import JobSettings
from towpath.agent.kubernetes.watch import Broken, Listed, Notice, Seen
from towpath.agent.ledger import Ledger
from towpath.agent.messages import Created, Deleted, Ended, Gone, Report, Running, Stop
from towpath.agent.work import History, Limits, Phase, State, Sync
from towpath.errors import WorldError

HANDS: Final = 64  # threads that carry out, at most; two for each attempt, so that none waits for another
EVENTS: Final = 30  # kept for each attempt
BEAT: Final = 5.0  # seconds between two signs of life
GRACE: Final = 10.0  # seconds for taking everything away at Ctrl-C


class Agent:
    """One agent over a list of syncs. `run` gives back how each ended, or raises the error that makes going on senseless."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        settings: JobSettings,
        *,
        name: str,
        region: str,
        owner: dict[str, Any],
        capacity: int = 10,
        limits: Limits | None = None,
        report: Callable[[Report], None] | None = None,
        alive: Path | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        """`capacity`: attempts at once. `alive` is touched while the loop goes on. `on_step` is told each step as it is done:
        tests end the process there.
        """
        self._cluster = cluster
        self._ledger = ledger
        self._settings = settings
        self._name = name
        self._capacity = capacity
        self._report = report or _nothing
        self._alive = alive
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._hands = Hands(
            cluster,
            ledger,
            lambda attempt: job_manifest(attempt, settings, agent=name, region=region, owner=owner),
            inbox=self._inbox,
            limits=limits or Limits(),
            threads=min(HANDS, max(8, 2 * capacity)),
            on_step=on_step or _nothing,
        )
        self._syncs: dict[str, Sync] = {}
        self._histories: dict[str, History] = {}
        self._running: dict[str, Running] = {}
        self._due: list[tuple[float, str]] = []
        self._launching: list[Future[None]] = []
        self._stop: Stop | None = None

    def stop(self, *, leave: bool) -> None:
        """From any thread or signal handler. `leave` the Jobs for the next agent, or end them."""
        self._inbox.put(Stop(leave=leave))

    def run(self, syncs: Iterable[Sync], *, forever: bool = False) -> dict[str, History]:
        """Do every sync that is not done. Raises MissingPermissionError, WorldError."""
        self._syncs = {sync.id: sync for sync in syncs}
        try:
            self._hands.patiently(lambda: self._ledger.prune(self._syncs.keys()))
            self._histories = self._hands.patiently(self._ledger.read)
            self._cluster.watch(self._inbox)
            self._adopt()
            while self._stop is None and (forever or self._running or self._due):
                self._launch_due()
                self._next()
            if self._stop is not None and not self._stop.leave:
                self._end_all()
        finally:
            self._hands.close()
            self._cluster.close()
        return {sync: self._histories.get(sync, History()) for sync in self._syncs}

    @property
    def stopped(self) -> bool:
        return self._stop is not None

    def add(self, syncs: Iterable[Sync]) -> None:
        """More syncs, while it runs, from any thread."""
        self._inbox.put(tuple(syncs))

    # --- the loop's steps ------------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Go on from wherever an earlier agent was: what runs is watched, what was told is deleted, what was lost is tried again."""
        waiting = {"Job", "Pod", "Event"}
        jobs: tuple[Mapping[str, Any], ...] = ()
        later: list[Any] = []
        while waiting and self._stop is None:
            notice = self._inbox.get()
            if isinstance(notice, Listed):
                waiting.discard(notice.kind)
                if notice.kind == "Job":
                    jobs = notice.values
                later.append(notice)
            elif isinstance(notice, (Broken, Stop)):
                self._handle(notice)
            else:
                later.append(notice)
        for job in jobs:
            self._adopt_job(job)
        for sync, history in self._histories.items():
            if history.open and job_name(sync, history.attempts) not in self._running and sync in self._syncs:
                # Written down as begun, and no Job: it never came to be, or somebody deleted it. Its number is not used again.
                gone = Running(sync=sync, number=history.attempts, began=time.monotonic(), created=True)
                self._running[gone.name] = gone
                self._end(gone, judging.judge(None, None))
        self._plan(self._syncs)
        for notice in later:
            self._handle(notice)

    def _adopt_job(self, job: Mapping[str, Any]) -> None:
        metadata = job["metadata"]
        labels = metadata.get("labels") or {}
        sync = (metadata.get("annotations") or {}).get(SYNC)
        if labels.get(AGENT) != label_value(self._name) or sync is None or metadata.get("deletionTimestamp"):
            return
        number = int(labels.get(ATTEMPT, 0))
        history = self._histories.get(sync, History())
        if number < history.attempts or (number == history.attempts and not history.open):
            self._hands.delete(metadata["name"])
            return
        self._histories[sync] = replace(history, attempts=number, open=True)
        self._running[metadata["name"]] = Running(
            sync=sync, number=number, began=time.monotonic(), job=job, created=True
        )

    def _plan(self, syncs: Iterable[str]) -> None:
        """Put what is neither done nor under way into the queue."""
        active = {running.sync for running in self._running.values()} | {sync for _, sync in self._due}
        for sync in syncs:
            if sync not in active and not self._histories.get(sync, History()).finished:
                heapq.heappush(self._due, (time.monotonic(), sync))

    def _free(self) -> bool:
        """Whether another attempt may begin. One that has ended holds no place while that is written down and it is deleted."""
        return sum(not running.ending for running in self._running.values()) < self._capacity

    def _launch_due(self) -> None:
        while self._due and self._free() and self._due[0][0] <= time.monotonic():
            _, sync = heapq.heappop(self._due)
            history = self._histories.get(sync, History())
            begun = replace(history, attempts=history.attempts + 1, open=True)
            self._histories[sync] = begun
            running = Running(sync=sync, number=begun.attempts, began=time.monotonic())
            self._running[running.name] = running
            self._tell(running)
            launch = self._hands.launch(self._syncs[sync], running, begun)
            self._launching = [each for each in self._launching if not each.done()] + [launch]

    def _next(self) -> None:
        if self._alive is not None:
            self._alive.touch()
        try:
            notice = self._inbox.get(timeout=self._patience())
        except queue.Empty:
            self._overdue()
            return
        self._handle(notice)

    def _patience(self) -> float | None:
        """Seconds until something is due by itself."""
        moments = [moment for moment, _ in self._due[:1] if self._free()]
        moments += [
            running.began + self._settings.start_deadline
            for running in self._running.values()
            if running.state.phase is Phase.PENDING and not running.ending
        ]
        moments += [time.monotonic() + BEAT] if self._alive is not None else []
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _overdue(self) -> None:
        """End what has not begun to run within its time."""
        for running in list(self._running.values()):
            late = time.monotonic() - running.began >= self._settings.start_deadline
            if late and running.state.phase is Phase.PENDING and not running.ending and running.created:
                why = f": {running.state.what}" if running.state.what else ""
                self._end(
                    running,
                    State(
                        phase=Phase.FAILED,
                        code=running.state.code or "not-started",
                        what=f"no container ran within {self._settings.start_deadline} s{why}",
                        todo=running.state.todo or "look at the namespace's events, or raise startDeadline",
                    ),
                )

    def _handle(self, notice: Notice | Created | Deleted | Ended | Gone | Stop | WorldError | tuple[Sync, ...]) -> None:
        match notice:
            case Seen():
                self._seen(notice)
            case Listed():
                self._listed(notice)
            case Created():
                running = self._running.get(notice.name)
                if running is not None:
                    running.created = True
                    self._look(running)
            case Ended():
                self._ended(notice)
            case Deleted():
                self._deleted(notice)
            case Gone():
                running = self._running.get(notice.name)
                if running is not None and not running.ending:
                    self._end(running, judging.judge(None, running.pod, running.events))
            case Stop():
                self._stop = notice
                self._hands.let_go()
            case Broken():
                raise notice.error
            case WorldError():
                raise notice
            case _:
                self._syncs |= {sync.id: sync for sync in notice}
                self._plan([sync.id for sync in notice])

    # --- what is seen ----------------------------------------------------------------------------------------------

    def _seen(self, seen: Seen) -> None:
        running = self._whose(seen.kind, seen.value)
        if running is None:
            return
        if seen.kind == "Event":
            running.events = [*running.events, seen.value][-EVENTS:]
        elif seen.kind == "Job":
            running.job = None if seen.gone else seen.value
            if seen.gone and running.created and not running.ending:
                self._recheck(running)
                return
        else:
            # A pod that is deleted is kept as it was last seen: it says how it ended.
            running.pod = (
                {**seen.value, "metadata": {**seen.value["metadata"], "deletionTimestamp": "seen"}}
                if seen.gone
                else seen.value
            )
        self._look(running)

    def _listed(self, listed: Listed) -> None:
        for value in listed.values:
            self._seen(Seen(kind=listed.kind, name=value["metadata"]["name"], value=value))
        there = {value["metadata"]["name"] for value in listed.values}
        for running in list(self._running.values()):
            if running.ending or not running.created:
                continue
            if listed.kind == "Job" and running.job is not None and running.name not in there:
                self._recheck(running)
            if listed.kind == "Pod" and running.pod is not None and running.pod["metadata"]["name"] not in there:
                running.pod = None  # it went while nobody watched; the Job says what came of it
                self._look(running)

    def _whose(self, kind: str, value: Mapping[str, Any]) -> Running | None:
        metadata = value["metadata"]
        if kind == "Job":
            return self._running.get(metadata["name"])
        if kind == "Pod":
            return self._running.get((metadata.get("labels") or {}).get("batch.kubernetes.io/job-name", ""))
        name = str((value.get("involvedObject") or {}).get("name", ""))
        return self._running.get(name) or self._running.get(name.rpartition("-")[0])

    def _recheck(self, running: Running) -> None:
        """A Job seems to be gone: the live API decides, not what a watch said."""
        running.job = None
        self._hands.look_for(running.name)

    def _look(self, running: Running) -> None:
        if running.ending or not running.created or (running.job is None and running.pod is None):
            return
        state = judging.judge(running.job or {}, running.pod, running.events)
        if state.phase.ended:
            self._end(running, state)
        elif state != running.state:
            running.state = state
            self._tell(running)

    # --- the end ---------------------------------------------------------------------------------------------------

    def _end(self, running: Running, state: State) -> None:
        running.ending = True
        self._hands.finish(running, self._histories[running.sync], state)

    def _ended(self, ended: Ended) -> None:
        running = self._running[ended.name]
        self._histories[running.sync] = ended.history
        running.state = ended.state
        self._tell(running, again_in=ended.again_in)

    def _deleted(self, deleted: Deleted) -> None:
        running = self._running.pop(deleted.name)
        if deleted.again_in is not None and running.sync in self._syncs:
            heapq.heappush(self._due, (time.monotonic() + deleted.again_in, running.sync))

    def _end_all(self) -> None:
        """Ctrl-C: every attempt is ended and written down as stopped, so that nothing is left behind."""
        self._hands.hurry(GRACE)
        wait(self._launching, timeout=GRACE)
        stopped = State(
            phase=Phase.STOPPED,
            code="stopped",
            what="the agent was told to stop",
            todo="run it again: the sync is tried anew",
        )
        ends = [
            self._hands.finish(running, self._histories[running.sync], stopped)
            for running in self._running.values()
            if not running.ending
        ]
        wait(ends, timeout=2 * GRACE)
        while not self._inbox.empty():
            notice = self._inbox.get()
            if isinstance(notice, Ended):
                self._ended(notice)

    def _tell(self, running: Running, *, again_in: float | None = None) -> None:
        self._report(
            Report(sync=running.sync, attempt=running.number, job=running.name, state=running.state, again_in=again_in)
        )


def _nothing(_: object) -> None: ...
