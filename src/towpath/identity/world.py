"""The two ways out: AWS and the cluster's service accounts, with the issuers' documents. Opened once, passed down."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from towpath.chain.observed import Wanted
from towpath.identity.aws import Aws
from towpath.identity.service_accounts import ServiceAccounts, select


@dataclass(frozen=True, kw_only=True)
class World:
    """`service_accounts` is opened when it is first asked for: a cluster that cannot be reached is then that link's finding."""

    aws: Aws
    service_accounts: Callable[[], ServiceAccounts]
    environ: Mapping[str, str]


def open_world(
    wanted: Wanted,
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> World:
    found = os.environ if environ is None else environ
    opened: list[ServiceAccounts] = []
    lock = threading.Lock()  # observe asks from several threads

    def service_accounts() -> ServiceAccounts:
        with lock:
            if not opened:
                opened.append(select(wanted.cluster, kubeconfig=kubeconfig, context=context, environ=found))
            return opened[0]

    return World(aws=Aws(wanted.region), service_accounts=service_accounts, environ=found)
