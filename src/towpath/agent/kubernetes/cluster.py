"""The agent's edge to Kubernetes: create, look, delete, read a log's end, and three watches. Everything it tells is plain JSON."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from towpath.agent.kubernetes.job import CONTAINER, MANAGED_BY
from towpath.agent.kubernetes.watch import Watch
from towpath.agent.work import Identity
from towpath.errors import UsageError, WorldError
from towpath.kubernetes.connection import ApiRefusal, Connection

ROLE_ARN: Final = "eks.amazonaws.com/role-arn"
AUDIENCE: Final = "eks.amazonaws.com/audience"
EXPIRATION: Final = "eks.amazonaws.com/token-expiration"
SHORTEST: Final = 600  # seconds; Kubernetes takes no shorter token
REMEMBER: Final = 5.0  # seconds a service account's annotations are remembered
TAIL: Final = 12  # lines of a crashed job's log
LABELS: Final = {MANAGED_BY: "towpath"}

Object = Mapping[str, Any]


def identity_of(annotations: Mapping[str, str]) -> Identity | None:
    """The annotations as the EKS pod identity webhook reads them (README, "EKS Walkthrough"): a lifetime that is no number counts for
    nothing, one that is too short is raised. None without a role.
    """
    role = annotations.get(ROLE_ARN)
    if not role:
        return None
    lifetime = annotations.get(EXPIRATION, "")
    seconds = max(SHORTEST, int(lifetime)) if re.fullmatch(r"[+-]?[0-9]{1,18}", lifetime) else None
    return Identity(role_arn=role, audience=annotations.get(AUDIENCE) or None, token_expiration=seconds)


class Refused(UsageError):
    """The API server does not take the Job as it is; the same again would be refused again."""


class Cluster:
    """Jobs in one namespace. Methods raise WorldError (ClusterUnreachable when trying again may help), MissingPermissionError."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._identities: dict[str, tuple[float, Identity]] = {}
        self._reading = threading.Lock()
        self._watches: list[Watch] = []

    def identity(self, service_account: str) -> Identity:
        """What the service account is annotated with. Raises WorldError when it is missing, or names no role."""
        with self._reading:  # those who launch at the same moment wait for one reading
            until, known = self._identities.get(service_account, (0.0, None))
            if known is None or time.monotonic() >= until:
                known = self._read_identity(service_account)
                self._identities[service_account] = (time.monotonic() + REMEMBER, known)
            return known

    def _read_identity(self, service_account: str) -> Identity:
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{service_account}"
        found = self._connection.request("get", "serviceaccounts", path)
        where = f"{self._namespace}/{service_account}"
        if found is None:
            raise WorldError(
                f"there is no service account {service_account} in namespace {self._namespace}",
                where=where,
                todo="create it: towpath identity apply",
            )
        identity = identity_of(found["metadata"].get("annotations") or {})
        if identity is None:
            raise WorldError(
                f"the service account {service_account} names no role",
                where=where,
                todo=f"annotate it with {ROLE_ARN}: towpath identity apply",
            )
        return identity

    def create(self, manifest: Mapping[str, Any]) -> bool:
        """Create the Job; False when it was there already. Raises Refused for one that no API server would take."""
        name = manifest["metadata"]["name"]
        try:
            made = self._connection.request("create", "jobs", self._jobs, body=manifest)
        except ApiRefusal as error:
            if error.code == 409 and error.reason == "AlreadyExists":
                return False
            if error.code in {400, 422}:
                raise Refused(
                    f"Kubernetes does not take the Job: {error.message}",
                    where=f"jobs/{name}",
                    todo="correct the job settings",
                ) from None
            raise
        if made is None:
            raise WorldError(f"there is no namespace {self._namespace}", where=f"jobs/{name}", todo="create it")
        return True

    def get(self, name: str) -> Object | None:
        return self._connection.request("get", "jobs", f"{self._jobs}/{name}")

    def delete(self, name: str) -> None:
        """The Job, and its pod with it."""
        params = {"propagationPolicy": "Background"}
        self._connection.request("delete", "jobs", f"{self._jobs}/{name}", params=params)

    def tail(self, pod: str) -> list[str]:
        """The last lines of the job's log; none when it cannot be had any more."""
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}/log"

        def get() -> str:
            answer = self._connection.http.get(path, params={"container": CONTAINER, "tailLines": str(TAIL)})
            answer.raise_for_status()
            return str(answer.text)

        try:
            return self._connection.call("get", "pods/log", pod, get).splitlines()
        except WorldError:
            return []

    def watch(self, inbox: queue.SimpleQueue[Any]) -> None:
        """Begin to put every change of Jobs, pods and events into `inbox`, until `close`."""
        places = (("Job", "/apis/batch/v1", LABELS), ("Pod", "/api/v1", LABELS), ("Event", "/api/v1", {}))
        for kind, api, selector in places:
            path = f"{api}/namespaces/{self._namespace}/{kind.lower()}s"
            watch = Watch(self._connection, kind, path, selector, inbox.put)
            self._watches.append(watch)
            watch.start()

    def close(self) -> None:
        for watch in self._watches:
            watch.stop()
        self._connection.close()
