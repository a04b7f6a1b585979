"""One connection to an API server through lightkube, where every refusal is one of towpath's errors.

A missing permission names the verb and the resource, as a Role writes them; an answer of "not found" is None.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from towpath.errors import MissingPermissionError, WorldError

FIELD_MANAGER: Final = "towpath"


class ClusterUnreachable(WorldError):
    """The API server does not answer, or answers that it cannot just now; the same call may go through later."""


class Connection:
    """`client` is lightkube's; `namespace` the context's own. Raises WorldError when there is no usable configuration."""

    def __init__(self, *, kubeconfig: Path | None = None, context: str | None = None) -> None:
        import httpx2
        from lightkube import Client, KubeConfig
        from lightkube.core.exceptions import ConfigError

        where = str(kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config"))
        todo = "give --kubeconfig FILE, or write one with `aws eks update-kubeconfig --name NAME --region REGION`"
        try:
            config = KubeConfig.from_file(str(kubeconfig)) if kubeconfig else KubeConfig.from_env()
            chosen = config.get(context_name=context)
            if chosen is None:
                raise WorldError("the kubeconfig has no current context", where=where, todo="name one with --context")
            # Reads end after 30 s; a watch has no such end of its own.
            timeout = httpx2.Timeout(30, connect=10)
            self.client: Any = Client(config=chosen, field_manager=FIELD_MANAGER, timeout=timeout)
        except (ConfigError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise WorldError(f"there is no way to the cluster: {error}", where=where, todo=todo) from None
        self.namespace: str = self.client.namespace or "default"

    def close(self) -> None:
        self.client.close()

    def call(self, verb: str, resource: str, name: str, do: Callable[[], Any]) -> Any:
        """What `do` answers; None when the thing is not there. Raises MissingPermissionError, WorldError."""
        import httpx2
        from lightkube.core.exceptions import ApiError

        where = f"{resource}/{name}" if name else resource
        try:
            return do()
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise refused(verb, resource, name, error) from None
        except httpx2.HTTPError as error:
            if isinstance(error, httpx2.HTTPStatusError) and error.response.status_code in {401, 403}:
                raise MissingPermissionError(f"{verb} {resource}", where=where) from None
            raise ClusterUnreachable(
                f"the cluster cannot be reached: {str(error) or type(error).__name__}",
                where=f"{verb} {where}",
                todo="check the kubeconfig's server and your network",
            ) from None

    def document(self, path: str) -> dict[str, Any] | None:
        """A JSON document of the API server that is no resource, as its discovery document."""

        def get() -> Any:
            answer = self.client._client._client.get(path)
            if answer.status_code == 404:
                return None
            if answer.status_code in {401, 403}:
                raise MissingPermissionError(f"get {path}", where=path)
            answer.raise_for_status()
            return answer.json()

        return cast("dict[str, Any] | None", self.call("get", path, "", get))


def refused(verb: str, resource: str, name: str, error: Any) -> WorldError:
    """An ApiError as one of ours."""
    where = f"{resource}/{name}" if name else resource
    if error.status.code == 429 or (error.status.code or 500) >= 500:
        todo = "try again: the API server is starting, stopping or overloaded"
        return ClusterUnreachable(f"Kubernetes says: {error.status.message}", where=f"{verb} {where}", todo=todo)
    if error.status.code in {401, 403} and "exceeded quota" not in str(error.status.message):
        return MissingPermissionError(f"{verb} {resource}", where=where, detail=str(error.status.message))
    return WorldError(f"Kubernetes says: {error.status.message}", where=f"{verb} {where}", todo="see the message")
