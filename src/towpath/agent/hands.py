"""Hands: the agent's threads. They make an attempt's Job, write down how it ended, delete it, and decide nothing.

What came of it goes into the agent's inbox. Each step is written before the next is taken (see agent.py).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from towpath.agent import work
from towpath.agent.kubernetes import judge as judging
from towpath.agent.kubernetes.cluster import Cluster, Refused
from towpath.agent.ledger import Ledger
from towpath.agent.messages import Created, Deleted, Ended, Gone, Running
from towpath.agent.work import Attempt, History, Limits, Phase, State, Sync
from towpath.errors import MissingPermissionError, WorldError
from towpath.kubernetes.connection import ClusterUnreachable

T = TypeVar("T")

LONGEST_WAIT: Final = 5.0  # seconds between two tries at an API server that does not answer

log = logging.getLogger(__name__)


class Hands:
    """Threads that carry out what the loop decided. A WorldError of theirs is put into the inbox."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        manifest: Callable[[Attempt], dict[str, Any]],
        *,
        inbox: queue.SimpleQueue[Any],
        limits: Limits,
        threads: int,
        on_step: Callable[[str], None],
    ) -> None:
        """`manifest`: an attempt's Job. `on_step` is told each step as it is done."""
        self._cluster = cluster
        self._ledger = ledger
        self._manifest = manifest
        self._inbox = inbox
        self._limits = limits
        self._step = on_step
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hand")
        self._stopping = threading.Event()
        self._give_up_at: float | None = None  # monotonic seconds

    # --- what the loop asks for ------------------------------------------------------------------------------------

    def launch(self, sync: Sync, running: Running, begun: History) -> Future[None]:
        """Write the attempt down as begun, and create its Job."""
        return self._pool.submit(self._carry_out, lambda: self._launch(sync, running, begun))

    def finish(self, running: Running, before: History, state: State) -> Future[None]:
        """Write down how an attempt ended, and delete its Job. `before`: its sync's history until then."""
        return self._pool.submit(self._carry_out, lambda: self._finish(running, before, state))

    def look_for(self, job: str) -> None:
        """Put Gone into the inbox when the live API has no such Job."""

        def look() -> None:
            if self.patiently(lambda: self._cluster.get(job)) is None:
                self._inbox.put(Gone(name=job))

        self._pool.submit(self._carry_out, look)

    def delete(self, job: str) -> None:
        self._pool.submit(self._carry_out, lambda: self.patiently(lambda: self._cluster.delete(job)))

    def let_go(self) -> None:
        """Wait no longer for an API server that does not answer, and tell no more errors."""
        self._stopping.set()

    def hurry(self, seconds: float) -> None:
        """After `let_go`, to end what runs: wait for the API server again, for so long."""
        self._stopping.clear()
        self._give_up_at = time.monotonic() + seconds

    def close(self) -> None:
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # --- in a thread -----------------------------------------------------------------------------------------------

    def _launch(self, sync: Sync, running: Running, begun: History) -> None:
        self.patiently(lambda: self._ledger.write(sync.id, begun, None))
        self._step("claimed")
        try:
            identity = self.patiently(lambda: self._cluster.identity(sync.pipeline.identity))
        except MissingPermissionError:
            raise
        except WorldError as error:
            self._never(
                running, begun, State(phase=Phase.FAILED, code="service-account", what=error.what, todo=error.todo)
            )
            return
        attempt = Attempt(sync=sync, number=running.number, identity=identity)
        manifest = self._manifest(attempt)
        try:
            self.patiently(lambda: self._cluster.create(manifest))
        except Refused as error:
            self._never(running, begun, State(phase=Phase.FAILED, code="invalid", what=error.what, todo=error.todo))
            return
        except MissingPermissionError:
            raise
        except WorldError as error:
            code = "quota" if "exceeded quota" in error.what else "refused"
            self._never(running, begun, State(phase=Phase.FAILED, code=code, what=error.what, todo=error.todo))
            return
        self._step("created")
        self._inbox.put(Created(name=running.name))

    def _never(self, running: Running, history: History, state: State) -> None:
        """An attempt that came to no Job."""
        running.ending = True
        self._finish(running, history, state)

    def _finish(self, running: Running, before: History, state: State) -> None:
        """Say how it ended where it lasts, then take the Job away."""
        if state.code == "crash" and running.pod is not None:
            lines = self._cluster.tail(running.pod["metadata"]["name"])
            state = judging.judge(running.job or {}, running.pod, running.events, log=lines)
        elif state.code == "deleted":
            # The Job itself deletes a pod that is over its deadline; which it was, the live API knows.
            job = self.patiently(lambda: self._cluster.get(running.name))
            state = judging.judge(job, running.pod, running.events) if job is not None else state
            state = (
                state if state.phase.ended else State(phase=Phase.DISRUPTED, code="deleted", what="the pod was deleted")
            )
        history, again_in = work.after(before, state, self._limits)
        self._step("ended")
        self.patiently(lambda: self._ledger.write(running.sync, history, state))
        self._step("reported")
        self._inbox.put(Ended(name=running.name, history=history, state=state, again_in=again_in))
        self.patiently(lambda: self._cluster.delete(running.name))
        self._step("deleted")
        self._inbox.put(Deleted(name=running.name, again_in=again_in))

    def _carry_out(self, do: Callable[[], object]) -> None:
        try:
            do()
        except WorldError as error:
            if not self._stopping.is_set():
                self._inbox.put(error)
        except Exception as error:
            log.exception("a step failed")
            self._inbox.put(
                WorldError(f"{type(error).__name__}: {error}", where="towpath agent", todo="please report this")
            )

    def patiently(self, do: Callable[[], T]) -> T:
        """Try until the API server answers; what it then says is final."""
        pause = 0.2
        while True:
            try:
                return do()
            except ClusterUnreachable:
                over = self._give_up_at is not None and time.monotonic() > self._give_up_at
                if over or self._stopping.wait(pause):
                    raise
                pause = min(pause * 2, LONGEST_WAIT)
