"""The commands' way to a running sandbox: its own interface over HTTP, found through the environment it gave."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx2

from towpath.errors import UsageError
from towpath.sandbox.errors import SandboxError

URL = "TOWPATH_SANDBOX_URL"
SECRET = "TOWPATH_SANDBOX_SECRET"
CLUSTER = "TOWPATH_SANDBOX_CLUSTER"


class SandboxClient:
    """A running sandbox. Every method raises SandboxError when it does not answer or says no."""

    def __init__(self, url: str, secret: str, *, cluster: str = "sandbox") -> None:
        self._cluster = cluster
        self._url = url.rstrip("/")
        # Nothing of the user's proxy settings: the sandbox is on this machine.
        self._http = httpx2.Client(headers={"Authorization": f"Bearer {secret}"}, timeout=10, trust_env=False)

    def close(self) -> None:
        self._http.close()

    @property
    def url(self) -> str:
        return self._url

    def token(
        self,
        service_account: str,
        *,
        cluster: str | None = None,
        audiences: Sequence[str] | None = None,
        expires_in: int = 3600,
    ) -> dict[str, Any]:
        """{"token", "expiresAt"} for `namespace/name`; `expires_in` seconds, negative for one already expired."""
        namespace, name = split(service_account)
        body = {
            "cluster": cluster or self._cluster,
            "namespace": namespace,
            "serviceAccount": name,
            "audiences": list(audiences) if audiences else None,
            "expiresIn": expires_in,
        }
        return self._ask("POST", "/token", body)

    def annotate(
        self, service_account: str, annotations: Sequence[str], *, cluster: str | None = None
    ) -> dict[str, Any]:
        """The service account, after `KEY=VALUE` was set or `KEY-` removed."""
        namespace, name = split(service_account)
        changes: dict[str, str | None] = {}
        for text in annotations:
            key, equals, value = text.partition("=")
            if equals and key:
                changes[key] = value
            elif text.endswith("-") and len(text) > 1:
                changes[text[:-1]] = None
            else:
                raise UsageError(
                    f"{text!r} is neither KEY=VALUE nor KEY-",
                    where="annotation",
                    todo="write eks.amazonaws.com/role-arn=ARN to set it, eks.amazonaws.com/role-arn- to remove it",
                )
        return self._ask(
            "PATCH",
            f"/clusters/{cluster or self._cluster}/namespaces/{namespace}/serviceaccounts/{name}",
            {"annotations": changes},
        )

    def calls(self, after: int = 0, *, wait: float = 0) -> list[dict[str, Any]]:
        """The recorded calls after that number, oldest first. `wait`: seconds to hold on for one when there is none yet."""
        path = f"/calls?after={after}" + (f"&wait={wait:g}" if wait else "")
        return cast("list[dict[str, Any]]", self._ask("GET", path, wait=wait)["calls"])

    def reset(self) -> None:
        """Everything gone but the administrator, the first cluster and the secret."""
        self._ask("POST", "/reset", {})

    def faults(self) -> list[dict[str, Any]]:
        """[{"fail": rule, "calls": how many it has spoken of}]."""
        return cast("list[dict[str, Any]]", self._ask("GET", "/faults")["faults"])

    def add_faults(self, rules: Sequence[str]) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self._ask("POST", "/faults", {"fail": list(rules)})["faults"])

    def clear_faults(self) -> int:
        return int(self._ask("DELETE", "/faults")["cleared"])

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, wait: float = 0) -> dict[str, Any]:
        try:
            answer = self._http.request(method, self._url + path, json=body, timeout=10 + wait)
        except httpx2.HTTPError as error:
            raise SandboxError(
                f"the sandbox does not answer: {error}",
                where=self._url,
                todo="start one with `towpath sandbox`, or run this under `towpath sandbox run -- …`",
            ) from None
        found = (
            cast("dict[str, Any]", answer.json())
            if answer.headers.get("content-type", "").startswith("application/json")
            else {"error": answer.text}
        )
        if answer.status_code >= 300:
            raise SandboxError(str(found.get("error", answer.status_code)), where=self._url + path)
        return found


def from_environment(environ: Mapping[str, str] | None = None) -> SandboxClient:
    """The sandbox this shell belongs to. Raises UsageError when it belongs to none."""
    found = os.environ if environ is None else environ
    if not found.get(URL) or not found.get(SECRET):
        raise UsageError(
            f"no sandbox is named by {URL} and {SECRET}",
            where="the environment",
            todo="run this under `towpath sandbox run -- …`, or start `towpath sandbox` in another terminal and paste the exports it prints",
        )
    return SandboxClient(found[URL], found[SECRET], cluster=found.get(CLUSTER, "sandbox"))


def split(service_account: str) -> tuple[str, str]:
    """`namespace/name` in two. Raises UsageError."""
    namespace, slash, name = service_account.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise UsageError(
            f"{service_account!r} is not NAMESPACE/NAME", where="service account", todo="write it as data/hd-job-sa"
        )
    return namespace, name
