"""Service accounts, wherever they live: behind a Kubernetes API server, or in the sandbox's own registry."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

from towpath.chain.observed import ObservedServiceAccount
from towpath.errors import MissingPermissionError, WorldError
from towpath.kubernetes.connection import FIELD_MANAGER, Connection

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
        self._client = self._connection.client

    def issuer(self) -> str:
        """The issuer the API server puts into its tokens, from its discovery document."""
        found = self._connection.document(DISCOVERY)
        if found is None or not found.get("issuer"):
            raise WorldError(
                "the API server publishes no issuer",
                where=DISCOVERY,
                todo="start it with --service-account-issuer, or name the issuer with --issuer",
            )
        return str(found["issuer"])

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
            owners=_owners(metadata.managedFields or ()),
        )

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        from lightkube.models.meta_v1 import ObjectMeta
        from lightkube.resources.core_v1 import Namespace, ServiceAccount

        wanted = {key: value for key, value in annotations.items() if value is not None}
        found = self.get(namespace, name)
        # The label tells what we created; applied again without it, it would be taken away.
        created = found is None or found.labels.get(MANAGED_BY) == FIELD_MANAGER
        account = ServiceAccount(
            metadata=ObjectMeta(
                name=name,
                namespace=namespace,
                annotations=wanted,
                labels={MANAGED_BY: FIELD_MANAGER} if created else None,
            )
        )

        # Applied without an annotation that we own, it goes; one that somebody else owns too stays theirs.
        def write() -> Any:
            return self._call("patch", name, lambda: self._client.apply(account, force=True))

        if found is not None:
            write()
            return
        if write() is None:  # 404 on a create: the namespace is missing
            space = Namespace(metadata=ObjectMeta(name=namespace))
            self._call("patch", namespace, lambda: self._client.apply(space), kind="namespaces")
            write()

    def delete(self, namespace: str, name: str) -> None:
        from lightkube.resources.core_v1 import ServiceAccount

        self._call("delete", name, lambda: self._client.delete(ServiceAccount, name, namespace=namespace))

    def token(self, namespace: str, name: str, audience: str) -> str:
        from lightkube.models.authentication_v1 import TokenRequestSpec
        from lightkube.models.meta_v1 import ObjectMeta
        from lightkube.resources.core_v1 import ServiceAccountToken

        spec = TokenRequestSpec(audiences=[audience], expirationSeconds=TOKEN_SECONDS)
        request = ServiceAccountToken(metadata=ObjectMeta(), spec=spec)
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

    def injection(self, namespace: str, name: str) -> str:
        """Whether a webhook gives pods of this service account the token, seen by a pod that is only asked about (a dry run)."""
        from lightkube.models.core_v1 import Container, PodSpec
        from lightkube.models.meta_v1 import ObjectMeta
        from lightkube.resources.core_v1 import Pod

        pod = Pod(
            metadata=ObjectMeta(generateName="towpath-doctor-", namespace=namespace),
            spec=PodSpec(
                serviceAccountName=name, containers=[Container(name="asked", image="towpath.invalid/nothing:1")]
            ),
        )
        try:
            answer: Any = self._call("create", "", lambda: self._client.create(pod, dry_run=True), kind="pods")
        except MissingPermissionError:
            return "whether a pod identity webhook is installed was not seen: not allowed to create pods, not even as a dry run"
        except WorldError as error:
            return f"whether a pod identity webhook is installed was not seen: {error.what}"
        spec = answer.spec if answer is not None else None
        names = {volume.name for volume in (spec.volumes or ())} if spec is not None else set[str]()
        if TOKEN_VOLUME in names:
            return "a pod identity webhook is installed and gives plain pods the same volume and variables"
        return "no pod identity webhook acts on this service account's pods: only what towpath launches has the token"

    def _call(self, verb: str, name: str, call: Callable[[], Any], *, kind: str = "serviceaccounts") -> Any:
        return self._connection.call(verb, kind, name, call)


def _owners(managed: Iterable[Any]) -> dict[str, str]:
    """Who set which annotation last, by the field managers' own records."""
    out: dict[str, str] = {}
    for entry in managed:
        fields = entry.fieldsV1 or {}
        annotations = fields.get("f:metadata", {}).get("f:annotations", {})
        for key in annotations:
            if key.startswith("f:"):
                out[key.removeprefix("f:")] = str(entry.manager)
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
