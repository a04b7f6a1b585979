"""The agent's edge to Kubernetes: create, look, delete, read a log's end, and three watches. Everything it tells is plain JSON."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from towpath.agent.kubernetes.job import CONTAINER, MANAGED_BY
from towpath.errors import MissingPermissionError, UsageError, WorldError
from towpath.kubernetes.connection import ClusterUnreachable, Connection

ROLE_ARN: Final = "eks.amazonaws.com/role-arn"
FIRST_WAIT: Final = 0.2  # seconds before a lost watch is opened again, doubled each time
LONGEST_WAIT: Final = 5.0
REMEMBER: Final = 5.0  # seconds a service account's role is remembered
TAIL: Final = 12  # lines of a crashed job's log

Object = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One change in the cluster. `kind` is Job, Pod or Event; `gone` when it was deleted; `value` is the object."""

    kind: str
    name: str
    value: Object
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Everything there is of one kind, at a watch's start and whenever it had to be opened anew."""

    kind: str
    values: tuple[Object, ...]


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A watch that cannot go on: a permission is missing."""

    error: WorldError


class Refused(UsageError):
    """The API server does not take the Job as it is; the same again would be refused again."""


Notice = Seen | Listed | Broken


class Cluster:
    """Jobs in one namespace. Methods raise WorldError (ClusterUnreachable when trying again may help), MissingPermissionError."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._client = connection.client
        self._namespace = namespace
        self._roles: dict[str, tuple[float, str]] = {}
        self._stop = threading.Event()

    def role_arn(self, service_account: str) -> str:
        """The role the service account is annotated with. Raises WorldError when it is missing, or names none."""
        from lightkube.resources.core_v1 import ServiceAccount

        until, known = self._roles.get(service_account, (0.0, ""))
        if time.monotonic() < until:
            return known
        found: Any = self._connection.call(
            "get",
            "serviceaccounts",
            service_account,
            lambda: self._client.get(ServiceAccount, service_account, namespace=self._namespace),
        )
        where = f"{self._namespace}/{service_account}"
        if found is None:
            raise WorldError(
                f"there is no service account {service_account} in namespace {self._namespace}",
                where=where,
                todo="create it: towpath identity apply",
            )
        role = (found.metadata.annotations or {}).get(ROLE_ARN)
        if not role:
            raise WorldError(
                f"the service account {service_account} names no role",
                where=where,
                todo=f"annotate it with {ROLE_ARN}: towpath identity apply",
            )
        self._roles[service_account] = (time.monotonic() + REMEMBER, str(role))
        return str(role)

    def create(self, manifest: Mapping[str, Any]) -> bool:
        """Create the Job; False when it was there already. Raises Refused for one that no API server would take."""
        from lightkube.core.exceptions import ApiError
        from lightkube.resources.batch_v1 import Job

        name = manifest["metadata"]["name"]

        def create() -> bool:
            try:
                self._client.create(Job.from_dict(dict(manifest)), namespace=self._namespace)
            except ApiError as error:
                if error.status.code == 409 and error.status.reason == "AlreadyExists":
                    return False
                if error.status.code in {400, 422}:
                    raise Refused(
                        f"Kubernetes does not take the Job: {error.status.message}",
                        where=f"jobs/{name}",
                        todo="correct the job settings",
                    ) from None
                raise
            return True

        made = self._connection.call("create", "jobs", name, create)
        if made is None:
            raise WorldError(f"there is no namespace {self._namespace}", where=f"jobs/{name}", todo="create it")
        return bool(made)

    def get(self, name: str) -> Object | None:
        from lightkube.resources.batch_v1 import Job

        found: Any = self._connection.call(
            "get", "jobs", name, lambda: self._client.get(Job, name, namespace=self._namespace)
        )
        return None if found is None else found.to_dict()

    def delete(self, name: str) -> None:
        """The Job, and its pod with it."""
        from lightkube.resources.batch_v1 import Job
        from lightkube.types import CascadeType

        self._connection.call(
            "delete",
            "jobs",
            name,
            lambda: self._client.delete(Job, name, namespace=self._namespace, cascade=CascadeType.BACKGROUND),
        )

    def tail(self, pod: str) -> list[str]:
        """The last lines of the job's log; none when it cannot be had any more."""
        try:
            found: Any = self._connection.call(
                "get",
                "pods/log",
                pod,
                lambda: list(
                    self._client.log(
                        pod, namespace=self._namespace, container=CONTAINER, tail_lines=TAIL, newlines=False
                    )
                ),
            )
        except WorldError:
            return []
        return [str(line) for line in found or ()]

    def watch(self, inbox: queue.SimpleQueue[Any]) -> None:
        """Begin to put every change of Jobs, pods and events into `inbox`, until `close`."""
        from lightkube.resources.batch_v1 import Job
        from lightkube.resources.core_v1 import Event, Pod

        labels = {MANAGED_BY: "towpath"}
        for kind, resource, selector in (("Job", Job, labels), ("Pod", Pod, labels), ("Event", Event, None)):
            thread = threading.Thread(
                target=self._follow, args=(kind, resource, selector, inbox.put), name=f"watch-{kind}", daemon=True
            )
            thread.start()

    def close(self) -> None:
        self._stop.set()
        self._connection.close()

    def _follow(
        self, kind: str, resource: Any, labels: Mapping[str, str] | None, put: Callable[[Notice], None]
    ) -> None:
        wait = FIRST_WAIT
        plural = f"{kind.lower()}s"
        while not self._stop.is_set():
            try:
                found: Any = self._client.list(resource, namespace=self._namespace, labels=labels)
                values = self._connection.call("list", plural, "", lambda found=found: list(found))
                put(Listed(kind=kind, values=tuple(value.to_dict() for value in values or ())))
                wait = FIRST_WAIT
                self._connection.call(
                    "watch",
                    plural,
                    "",
                    lambda found=found: self._changes(kind, resource, labels, found.resourceVersion, put),
                )
            except ClusterUnreachable:
                pass  # said by whoever has something to do there; the watch just waits
            except MissingPermissionError as error:
                put(Broken(error=error))
                return
            except Exception:
                if self._stop.is_set():
                    return
            self._stop.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    def _changes(
        self, kind: str, resource: Any, labels: Mapping[str, str] | None, version: str, put: Callable[[Notice], None]
    ) -> None:
        """Until the watch ends."""
        changes: Any = self._client.watch(resource, namespace=self._namespace, labels=labels, resource_version=version)
        for operation, value in changes:
            put(Seen(kind=kind, name=value.metadata.name, value=value.to_dict(), gone=operation == "DELETED"))
