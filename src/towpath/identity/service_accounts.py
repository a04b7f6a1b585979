"""Service accounts, wherever they live: behind a Kubernetes API server, or in the sandbox's own registry."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

from towpath.chain.observed import ObservedServiceAccount
from towpath.errors import MissingPermissionError, WorldError

FIELD_MANAGER: Final = "towpath"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"  # on a service account that towpath created
TOKEN_SECONDS: Final = 600  # the shortest life Kubernetes gives a token


class ServiceAccounts(Protocol):
    """One cluster's service accounts. Every method raises WorldError, or MissingPermissionError naming the verb."""

    backend: str

    def get(self, namespace: str, name: str) -> ObservedServiceAccount | None: ...

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        """Create the service account if it is absent; set what is given, remove what is None; touch nothing else."""

    def delete(self, namespace: str, name: str) -> None: ...

    def token(self, namespace: str, name: str, audience: str) -> str: ...


class SandboxServiceAccounts:
    """The registry of a running `towpath sandbox`, over its own interface."""

    backend = "sandbox"

    def __init__(self, url: str, secret: str, cluster: str) -> None:
        self._url = url.rstrip("/")
        self._cluster = cluster
        self._secret = secret
        # The sandbox is on this machine: no proxy, and so no need for more than the standard library.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, namespace: str, name: str) -> ObservedServiceAccount | None:
        answer = self._ask("GET", self._path(namespace, name), absent=True)
        return None if answer is None else _observed(answer["metadata"], self.backend)

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        body: dict[str, Any] = {"annotations": dict(annotations)}
        if any(value is not None for value in annotations.values()) and self.get(namespace, name) is None:
            body["labels"] = {MANAGED_BY: FIELD_MANAGER}
        self._ask("PATCH", self._path(namespace, name), body)

    def delete(self, namespace: str, name: str) -> None:
        self._ask("DELETE", self._path(namespace, name), absent=True)

    def token(self, namespace: str, name: str, audience: str) -> str:
        body = {
            "cluster": self._cluster,
            "namespace": namespace,
            "serviceAccount": name,
            "audiences": [audience],
            "expiresIn": TOKEN_SECONDS,
        }
        answer = self._ask("POST", "/token", body)
        return str(answer["token"]) if answer is not None else ""

    def _path(self, namespace: str, name: str) -> str:
        return f"/clusters/{self._cluster}/namespaces/{namespace}/serviceaccounts/{name}"

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, absent: bool = False
    ) -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=content, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=10) as answer:
                return cast("dict[str, Any]", json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404 and absent:
                    return None
                text = error.read().decode(errors="replace")
            raise WorldError(
                f"the sandbox says: {text[:300]}", where=self._url + path, todo="check the cluster's name"
            ) from None
        except OSError as error:
            raise WorldError(
                f"the sandbox does not answer: {error}",
                where=self._url,
                todo="run this under `towpath sandbox run -- …`",
            ) from None


class KubernetesServiceAccounts:
    """A cluster's own, through lightkube: server-side apply under our field manager, so that no other owner's field is touched."""

    backend = "kubernetes"

    def __init__(self, *, kubeconfig: Path | None = None, context: str | None = None) -> None:
        from lightkube import Client, KubeConfig
        from lightkube.core.exceptions import ConfigError

        try:
            config = KubeConfig.from_file(str(kubeconfig)) if kubeconfig else KubeConfig.from_env()
            self._client: Any = Client(config=config.get(context_name=context), field_manager=FIELD_MANAGER)
        except (ConfigError, OSError, KeyError) as error:
            raise WorldError(
                f"there is no way to the cluster: {error}",
                where=str(kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config")),
                todo="give --kubeconfig FILE, or write one with `aws eks update-kubeconfig --name NAME --region REGION`",
            ) from None

    def get(self, namespace: str, name: str) -> ObservedServiceAccount | None:
        from lightkube.resources.core_v1 import ServiceAccount

        found: Any = self._call("get", name, lambda: self._client.get(ServiceAccount, name, namespace=namespace))
        if found is None:
            return None
        metadata = found.metadata
        return ObservedServiceAccount(
            namespace=namespace,
            name=name,
            backend=self.backend,
            uid=metadata.uid or "",
            annotations=dict(metadata.annotations or {}),
            labels=dict(metadata.labels or {}),
        )

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        from lightkube.models.meta_v1 import ObjectMeta
        from lightkube.resources.core_v1 import Namespace, ServiceAccount

        wanted = {key: value for key, value in annotations.items() if value is not None}
        exists = self.get(namespace, name) is not None
        labels = None if exists else {MANAGED_BY: FIELD_MANAGER}
        if (
            not exists
            and self._call("get", namespace, lambda: self._client.get(Namespace, namespace), kind="namespaces") is None
        ):
            self._call(
                "patch",
                namespace,
                lambda: self._client.apply(Namespace(metadata=ObjectMeta(name=namespace))),
                kind="namespaces",
            )
        account = ServiceAccount(metadata=ObjectMeta(name=name, namespace=namespace, annotations=wanted, labels=labels))
        # Applying without an annotation that we own removes it; one that somebody else owns too stays theirs.
        self._call("patch", name, lambda: self._client.apply(account, force=True))

    def delete(self, namespace: str, name: str) -> None:
        from lightkube.resources.core_v1 import ServiceAccount

        self._call("delete", name, lambda: self._client.delete(ServiceAccount, name, namespace=namespace))

    def token(self, namespace: str, name: str, audience: str) -> str:
        from lightkube.models.authentication_v1 import TokenRequestSpec
        from lightkube.resources.core_v1 import ServiceAccountToken

        request = ServiceAccountToken(spec=TokenRequestSpec(audiences=[audience], expirationSeconds=TOKEN_SECONDS))
        answer: Any = self._call(
            "create",
            name,
            lambda: self._client.create(request, name, namespace=namespace),
            kind="serviceaccounts/token",
        )
        if answer is None:
            raise WorldError(
                f'serviceaccounts "{name}" not found in namespace {namespace}',
                where="TokenRequest",
                todo="create it: towpath identity apply",
            )
        return str(answer.status.token)

    def _call(self, verb: str, name: str, call: Any, *, kind: str = "serviceaccounts") -> Any:
        import httpx2
        from lightkube.core.exceptions import ApiError

        try:
            return call()
        except ApiError as error:
            if error.status.code == 404:
                return None
            if error.status.code in {401, 403}:
                raise MissingPermissionError(
                    f"{verb} {kind}", where=f"{kind}/{name}", detail=str(error.status.message)
                ) from None
            raise WorldError(
                f"Kubernetes says: {error.status.message}", where=f"{verb} {kind}/{name}", todo="see the message"
            ) from None
        except httpx2.HTTPError as error:
            raise WorldError(
                f"the cluster cannot be reached: {error}",
                where=f"{verb} {kind}/{name}",
                todo="check the kubeconfig's server and your network",
            ) from None


def select(
    cluster: str,
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> ServiceAccounts:
    """The sandbox's registry inside `towpath sandbox run` (unless a kubeconfig is named), else Kubernetes."""
    found = os.environ if environ is None else environ
    url, secret = found.get("TOWPATH_SANDBOX_URL"), found.get("TOWPATH_SANDBOX_SECRET")
    if url and secret and kubeconfig is None and context is None:
        return SandboxServiceAccounts(url, secret, cluster)
    return KubernetesServiceAccounts(kubeconfig=kubeconfig, context=context)


def _observed(metadata: Mapping[str, Any], backend: str) -> ObservedServiceAccount:
    return ObservedServiceAccount(
        namespace=metadata["namespace"],
        name=metadata["name"],
        backend=backend,
        uid=metadata.get("uid", ""),
        annotations=dict(metadata.get("annotations") or {}),
        labels=dict(metadata.get("labels") or {}),
    )
