"""One connection to an API server, where every refusal is one of towpath's errors.

Lightkube reads the kubeconfig (or the pod's own) and brings certificates and credentials; objects go in and out as the API's own JSON.
Its typed models are not used: two threads that decode their first object at once end the interpreter (msgspec's type cache), and
what a model does not know it drops.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from towpath.errors import MissingPermissionError, WorldError

T = TypeVar("T")

FIELD_MANAGER: Final = "towpath"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
_METHODS: Final = {"get": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}


class ClusterUnreachable(WorldError):
    """The API server does not answer, or answers that it cannot just now; the same call may go through later."""


class ApiRefusal(WorldError):
    """The API server understood the call and does not do it. `code` is HTTP's, `reason` and `message` the Status's."""

    def __init__(self, code: int, reason: str, message: str, *, where: str) -> None:
        super().__init__(f"Kubernetes says: {message}", where=where, todo="see the message")
        self.code = code
        self.reason = reason
        self.message = message


class Connection:
    """`namespace` is the context's own. Raises WorldError when there is no usable configuration."""

    def __init__(self, *, kubeconfig: Path | None = None, context: str | None = None) -> None:
        import httpx2
        import yaml
        from lightkube import Client, KubeConfig
        from lightkube.core.exceptions import ConfigError

        where = str(kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config"))
        todo = "give --kubeconfig FILE, or write one with `aws eks update-kubeconfig --name NAME --region REGION`"
        try:
            config = KubeConfig.from_file(str(kubeconfig)) if kubeconfig else KubeConfig.from_env()
            chosen = config.get(context_name=context)
            if chosen is None:
                raise WorldError("the kubeconfig has no current context", where=where, todo="name one with --context")
            client: Any = Client(config=chosen, timeout=httpx2.Timeout(30, connect=10))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark is not None else where
            raise WorldError("the kubeconfig is not YAML", where=place, todo=todo) from None
        except KeyError as error:
            raise WorldError(f"the kubeconfig has no {error.args[0]}", where=where, todo=todo) from None
        except UnicodeDecodeError:
            raise WorldError("the kubeconfig is not UTF-8 text", where=where, todo=todo) from None
        except RecursionError:
            raise WorldError("the kubeconfig is nested too deeply", where=where, todo=todo) from None
        except (ConfigError, OSError, ValueError, TypeError, AttributeError) as error:
            raise WorldError(f"there is no way to the cluster: {error}", where=where, todo=todo) from None
        self.namespace: str = client.namespace or "default"
        # The httpx2 client under lightkube's own.
        self.http: Any = client._client._client

    def close(self) -> None:
        self.http.close()

    def request(
        self,
        verb: str,
        resource: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any] | None:
        """One call: `verb` and `resource` as a Role names them, `path` of the API. The object; None when it is not there.

        Raises MissingPermissionError, ClusterUnreachable, ApiRefusal.
        """

        def do() -> Any:
            content = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": content_type, "Accept": "application/json"}
            answer = self.http.request(
                _METHODS[verb], path, params=dict(params or {}), content=content, headers=headers
            )
            if answer.status_code == 404:
                return None
            answer.raise_for_status()
            return answer.json()

        return cast("dict[str, Any] | None", self.call(verb, resource, path.rpartition("/")[2], do))

    def call(self, verb: str, resource: str, name: str, do: Callable[[], T]) -> T:
        """What `do` answers, its HTTP errors as ours."""
        import httpx2

        where = f"{resource}/{name}" if name and not resource.endswith(name) else resource
        try:
            return do()
        except httpx2.HTTPStatusError as error:
            raise refusal(verb, resource, where, error.response) from None
        except httpx2.HTTPError as error:
            raise ClusterUnreachable(
                f"the cluster at {self.http.base_url} cannot be reached: {str(error) or type(error).__name__}",
                where=f"{verb} {where}",
                todo="check the kubeconfig's server and your network",
            ) from None


def refusal(verb: str, resource: str, where: str, answer: Any) -> WorldError:
    """An HTTP error of the API server as one of ours."""
    code: int = answer.status_code
    try:
        answer.read()
        status: dict[str, Any] = answer.json()
    except Exception:
        status = {}
    message = str(status.get("message") or f"{code} {answer.reason_phrase}")
    if code == 429 or code >= 500:
        return ClusterUnreachable(
            f"Kubernetes says: {message}",
            where=f"{verb} {where}",
            todo="try again: the API server is starting, stopping or overloaded",
        )
    # A quota answers 403 too: that is no matter of permission.
    if code in {401, 403} and "exceeded quota" not in message:
        return MissingPermissionError(f"{verb} {resource}", where=where, detail=message)
    return ApiRefusal(code, str(status.get("reason", "")), message, where=f"{verb} {where}")
