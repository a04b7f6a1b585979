"""`towpath agent run`: wiring, from flags to an exit status."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from towpath.agent.agent import Agent
from towpath.agent.kubernetes.cluster import Cluster
from towpath.agent.kubernetes.settings import JobSettings, load_settings
from towpath.agent.ledger import ENTRIES, ConfigMapLedger
from towpath.agent.screen import Screen
from towpath.agent.work import Limits, Phase, Sync, check_name, check_namespace
from towpath.errors import UsageError
from towpath.iam import partition as partitions
from towpath.job.pipeline import load_pipelines
from towpath.kubernetes.connection import Connection

LOOK: Final = 2.0  # seconds between two looks at the file's time, with --forever


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """What `towpath agent run` is given."""

    queue: Path
    settings: Path | None = None
    namespace: str | None = None  # None: the kubeconfig's context's, or the pod's own
    kubeconfig: Path | None = None
    context: str | None = None
    name: str = "default"
    run: str = ""
    at_once: int = 10
    retries: int = 2
    forever: bool = False
    as_json: bool = False
    alive: Path | None = None  # a file touched while the loop goes on, for a liveness probe


def run(options: AgentOptions) -> int:
    """0 when every sync succeeded, 1 when one did not, 130 after Ctrl-C. Raises TowpathError."""
    check_name(options.name)
    syncs = read_syncs(options)
    settings = load_settings(options.settings) if options.settings is not None else JobSettings()
    region = settings.region or os.environ.get("AWS_REGION")
    if not region:
        raise UsageError(
            "the AWS region is not known", where="AWS_REGION", todo="set it, or region: in the job settings"
        )
    if not partitions.REGION.fullmatch(region):
        raise UsageError(
            f"{region!r} is not a region",
            where="AWS_REGION, or region: in the job settings",
            todo="give its code, as eu-west-1",
        )
    if options.namespace is not None:
        check_namespace(options.namespace)
    connection = Connection(kubeconfig=options.kubeconfig, context=options.context)
    namespace = options.namespace or connection.namespace
    ledger = ConfigMapLedger(connection, namespace, options.name)
    with Screen(as_json=options.as_json, syncs=syncs) as screen:
        agent = Agent(
            Cluster(connection, namespace),
            ledger,
            settings,
            name=options.name,
            region=region,
            owner=ledger.open(),
            capacity=options.at_once,
            limits=Limits(retries=options.retries),
            report=screen.report,
            alive=options.alive,
        )
        interrupted = _signals(agent)
        if options.forever:
            threading.Thread(target=_reread, args=(options, agent), daemon=True).start()
        histories = agent.run(syncs, forever=options.forever)
        screen.summary(histories)
    if interrupted:
        return 130
    return 0 if all(history.last == Phase.SUCCEEDED for history in histories.values()) or agent.stopped else 1


def read_syncs(options: AgentOptions) -> list[Sync]:
    """The file's pipelines as syncs. Raises PipelineError, UsageError."""
    found = [Sync.of(pipeline, options.run) for pipeline in load_pipelines(options.queue)]
    if len(found) > ENTRIES:
        raise UsageError(
            f"the file has {len(found)} pipelines, and an agent's ledger holds {ENTRIES}",
            where=str(options.queue),
            todo="divide it among agents of different names",
        )
    return found


def _signals(agent: Agent) -> list[int]:
    """Ctrl-C ends what runs; SIGTERM, a pod's end, leaves it for the next agent to adopt."""
    interrupted: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            interrupted.append(number)
        agent.stop(leave=number == signal.SIGTERM)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return interrupted


def _reread(options: AgentOptions, agent: Agent) -> None:
    """Take up what is written into the file while the agent runs; a file that is wrong just then is looked at again."""
    seen = options.queue.stat().st_mtime_ns
    pause = threading.Event()
    while not pause.wait(LOOK):
        try:
            now = options.queue.stat().st_mtime_ns
            if now != seen:
                agent.add(read_syncs(options))
                seen = now
        except (OSError, UsageError):
            continue
