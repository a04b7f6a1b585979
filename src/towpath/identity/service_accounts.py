"""Service accounts, wherever they live: behind a Kubernetes API server, or in the sandbox's own registry."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

from towpath.chain.observed import ObservedServiceAccount
from towpath.errors import MissingPermissionError, WorldError
from towpath.kubernetes.connection import APPLY, FIELD_MANAGER, Connection

MANAGED_BY: Final = "app.kubernetes.io/managed-by"  # on a service account that towpath created
DISCOVERY: Final = "/.well-known/openid-configuration"
TOKEN_VOLUME: Final = "aws-iam-token"  # as the EKS webhook names it
TOKEN_SECONDS: Final = 600  # the shortest life Kubernetes gives a token


class ServiceAccounts(Protocol):
    """One cluster's service accounts. Every method raises WorldError, or MissingPermissionError naming the verb."""

    backend: str

    def get(self, namespace: str, name: str) -> ObservedServiceAccount | None: ...

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        """Create the service account if it is absent; set what is given, remove what is None; touch nothing else."""

    def delete(self, namespace: str, name: str) -> None: ...

    def token(self, namespace: str, name: str, audience: str) -> str: ...

    def issuer(self) -> str:
        """The issuer of this cluster's tokens, as the cluster itself says."""
        ...

    def injection(self, namespace: str, name: str) -> str:
        """One sentence: does anything beside towpath put the token into this service account's pods? Empty where nothing can."""
        ...


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

    def issuer(self) -> str:
        raise WorldError(
            "the sandbox's clusters are EKS clusters: their issuer is told by EKS",
            where=f"cluster {self._cluster}",
            todo=f"give --eks {self._cluster}",
        )

    def injection(self, namespace: str, name: str) -> str:
        return ""

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
        self._connection = Connection(kubeconfig=kubeconfig, context=context)

    def close(self) -> None:
        self._connection.close()

    def issuer(self) -> str:
        """The issuer the API server puts into its tokens, from its discovery document."""
        found = self._connection.request("get", DISCOVERY, DISCOVERY)
        if found is None or not found.get("issuer"):
            raise WorldError(
                "the API server publishes no issuer",
                where=DISCOVERY,
                todo="start it with --service-account-issuer, or name the issuer with --issuer",
            )
        return str(found["issuer"])

    def get(self, namespace: str, name: str) -> ObservedServiceAccount | None:
        found = self._connection.request("get", "serviceaccounts", _path(namespace, name))
        if found is None:
            return None
        observed = _observed(found["metadata"], self.backend)
        return observed.model_copy(update={"owners": _owners(found["metadata"].get("managedFields") or ())})

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        wanted = {key: value for key, value in annotations.items() if value is not None}
        found = self.get(namespace, name)
        metadata: dict[str, Any] = {"name": name, "namespace": namespace, "annotations": wanted}
        # The label tells what we created; applied again without it, it would be taken away.
        if found is None or found.labels.get(MANAGED_BY) == FIELD_MANAGER:
            metadata["labels"] = {MANAGED_BY: FIELD_MANAGER}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        # Applied without an annotation that we own, it goes; one that somebody else owns too stays theirs.
        if self._apply("serviceaccounts", _path(namespace, name), account) is None:
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            self._apply("namespaces", f"/api/v1/namespaces/{namespace}", space)
            self._apply("serviceaccounts", _path(namespace, name), account)

    def delete(self, namespace: str, name: str) -> None:
        self._connection.request("delete", "serviceaccounts", _path(namespace, name))

    def token(self, namespace: str, name: str, audience: str) -> str:
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS},
        }
        path = f"{_path(namespace, name)}/token"
        answer = self._connection.request("create", "serviceaccounts/token", path, body=request)
        if answer is None:
            raise WorldError(
                f'serviceaccounts "{name}" not found in namespace {namespace}',
                where="TokenRequest",
                todo="create it: towpath identity apply",
            )
        return str(answer["status"]["token"])

    def injection(self, namespace: str, name: str) -> str:
        """Whether a webhook gives pods of this service account the token, seen by a pod that is only asked about (a dry run)."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "towpath-doctor-", "namespace": namespace},
            "spec": {
                "serviceAccountName": name,
                "containers": [{"name": "asked", "image": "towpath.invalid/nothing:1"}],
            },
        }
        path = f"/api/v1/namespaces/{namespace}/pods"
        try:
            answer = self._connection.request("create", "pods", path, body=pod, params={"dryRun": "All"})
        except MissingPermissionError:
            return "whether a pod identity webhook is installed was not seen: not allowed to create pods, not even as a dry run"
        except WorldError as error:
            return f"whether a pod identity webhook is installed was not seen: {error.what}"
        volumes: list[dict[str, Any]] = (answer or {}).get("spec", {}).get("volumes") or []
        if any(volume.get("name") == TOKEN_VOLUME for volume in volumes):
            return "a pod identity webhook is installed and gives plain pods the same volume and variables"
        return "no pod identity webhook acts on this service account's pods: only what towpath launches has the token"

    def _apply(self, resource: str, path: str, value: Mapping[str, Any]) -> dict[str, Any] | None:
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self._connection.request("patch", resource, path, body=value, params=params, content_type=APPLY)


def _path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"


def _owners(managed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Who set which annotation last, by the field managers' own records."""
    out: dict[str, str] = {}
    for entry in managed:
        annotations: dict[str, Any] = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
        for key in annotations:
            if key.startswith("f:"):
                out[key.removeprefix("f:")] = str(entry.get("manager", ""))
    return out


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
