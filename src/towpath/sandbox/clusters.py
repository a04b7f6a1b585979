"""The sandbox's EKS clusters: each has an issuer and keys of its own, and a registry of service accounts.

An emulator gives every cluster one issuer and no keys; a chain built on that would prove nothing.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from towpath.iam import partition as partitions
from towpath.oidc.issuer import SigningIssuer

DEFAULT_AUDIENCE: Final = "sts.amazonaws.com"


def issuer_url(region: str, identifier: str) -> str:
    """`https://oidc.eks.<region>.<suffix>/id/<32 hex>`, as EKS names its issuers in that region's partition."""
    return f"https://oidc.eks.{region}.{partitions.of_region(region).dns_suffix}/id/{identifier}"


@dataclass(kw_only=True)
class ServiceAccount:
    """A service account as far as an identity chain sees it."""

    namespace: str
    name: str
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    annotations: dict[str, str] = field(default_factory=dict[str, str])
    labels: dict[str, str] = field(default_factory=dict[str, str])

    def as_kubernetes(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.uid,
                "creationTimestamp": self.created,
                "annotations": dict(self.annotations),
                "labels": dict(self.labels),
            },
        }


class Cluster:
    """One cluster: its name, its issuer (keys are made when they are first needed), its service accounts."""

    def __init__(self, *, account: str, region: str, name: str, registry: Clusters) -> None:
        self._registry = registry
        self.account = account
        self.region = region
        self.name = name
        self.identifier = secrets.token_hex(16).upper()
        self.issuer_url = issuer_url(region, self.identifier)
        self._issuer: SigningIssuer | None = None
        self._service_accounts: dict[tuple[str, str], ServiceAccount] = {}
        self._lock = threading.Lock()

    @property
    def issuer(self) -> SigningIssuer:
        with self._lock:
            if self._issuer is None:
                self._issuer = SigningIssuer(self.issuer_url)
                self._registry.told(self, there=True)
            return self._issuer

    def exported_keys(self) -> dict[str, Any] | None:
        """The issuer's private keys; None if they were not needed yet."""
        return self._issuer.export() if self._issuer is not None else None

    def restore(self, *, identifier: str, keys: dict[str, Any] | None) -> None:
        """Be the cluster that had this issuer; nobody is told."""
        with self._lock:
            self.identifier = identifier
            self.issuer_url = issuer_url(self.region, identifier)
            self._issuer = SigningIssuer(self.issuer_url, keys=keys["keys"]) if keys else None

    def restore_account(self, namespace: str, name: str, account: ServiceAccount | None) -> None:
        with self._lock:
            if account is None:
                self._service_accounts.pop((namespace, name), None)
            else:
                self._service_accounts[namespace, name] = account

    def find(self, namespace: str, name: str) -> ServiceAccount | None:
        return self._service_accounts.get((namespace, name))

    def all(self, namespace: str) -> list[ServiceAccount]:
        with self._lock:
            return [found for (where, _), found in self._service_accounts.items() if where == namespace]

    def merge(
        self, namespace: str, name: str, *, annotations: dict[str, str | None], labels: dict[str, str | None]
    ) -> ServiceAccount:
        """Create the service account if it is absent; set what is given, remove what is given as None."""
        with self._lock:
            found = self._service_accounts.setdefault((namespace, name), ServiceAccount(namespace=namespace, name=name))
            for target, wanted in ((found.annotations, annotations), (found.labels, labels)):
                for key, value in wanted.items():
                    if value is None:
                        target.pop(key, None)
                    else:
                        target[key] = value
            self._registry.told_account(self, found, there=True)
            return found

    def delete(self, namespace: str, name: str) -> bool:
        with self._lock:
            found = self._service_accounts.pop((namespace, name), None)
            if found is not None:
                self._registry.told_account(self, found, there=False)
            return found is not None

    def token(self, namespace: str, name: str, *, audiences: list[str] | None, expires_in: int) -> tuple[str, datetime]:
        """A token as the API server would sign it, and its end. `expires_in` seconds may be negative, for tests."""
        account = self.find(namespace, name)
        now = datetime.now(UTC).timestamp()
        text = self.issuer.issue(
            namespace=namespace,
            service_account=name,
            audiences=audiences or [DEFAULT_AUDIENCE],
            expires_in=expires_in,
            uid=account.uid if account else str(uuid.uuid4()),
            now=now,
        )
        return text, datetime.fromtimestamp(int(now) + expires_in, UTC)


class Clusters:
    """Every cluster of every account, by account, region and name, and by the hex of its issuer."""

    def __init__(self) -> None:
        self._clusters: dict[tuple[str, str, str], Cluster] = {}
        self._lock = threading.Lock()
        # Told of every change of a cluster, or of one of its service accounts.
        self.told: Callable[..., None] = _nobody
        self.told_account: Callable[..., None] = _nobody

    def add(self, *, account: str, region: str, name: str) -> Cluster:
        with self._lock:
            found = self._clusters.get((account, region, name))
            if found is None:
                found = Cluster(account=account, region=region, name=name, registry=self)
                self._clusters[account, region, name] = found
                self.told(found, there=True)
            return found

    def remove(self, *, account: str, region: str, name: str) -> None:
        with self._lock:
            found = self._clusters.pop((account, region, name), None)
            if found is not None:
                self.told(found, there=False)

    def clear(self) -> None:
        with self._lock:
            self._clusters.clear()

    def find(self, *, account: str, region: str, name: str) -> Cluster | None:
        return self._clusters.get((account, region, name))

    def named(self, name: str, *, region: str | None = None) -> Cluster | None:
        """The one cluster of that name, whatever its account; in `region` where it is given."""
        with self._lock:
            found = [c for c in self._clusters.values() if c.name == name and region in {None, c.region}]
        return found[0] if found else None

    def of_issuer(self, identifier: str) -> Cluster | None:
        with self._lock:
            return next((c for c in self._clusters.values() if c.identifier == identifier), None)

    def names(self) -> list[str]:
        with self._lock:
            return sorted(c.name for c in self._clusters.values())


def _nobody(*_: object, **__: object) -> None:
    """Nobody is told."""
