"""Where a test cluster lives and which addresses it uses. Every one can be given, so that two can run side by side."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

NODE: Final = "node1"
KUBERNETES: Final = "1.34.4"


def cache_directory() -> Path:
    """Binaries by version, outside the checkout: $TOWPATH_CACHE, else $XDG_CACHE_HOME/towpath, else ~/.cache/towpath."""
    if given := os.environ.get("TOWPATH_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "towpath"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`directory` holds all of the cluster's state. The node's address is the pod bridge's own: nothing listens elsewhere."""

    directory: Path = Path("/var/lib/towpath-cluster")
    name: str = "tow0"  # of the bridge, the cgroup and the network: at most 15 characters
    region: str = "eu-west-1"
    pods: str = "10.244.0.0/24"
    services: str = "10.96.0.0/16"
    port: int = 6443
    etcd_port: int = 12379  # and the next one
    kubelet_port: int = 10250
    ports: int = 10256  # the first of five, for the health of controllers, proxy and kubelet
    policies: bool = True  # whether NetworkPolicies are enforced, by kube-router

    @cached_property
    def node_address(self) -> str:
        """The first address of the pods' network, on the bridge: pods, node and the sandbox meet there."""
        return str(next(ipaddress.ip_network(self.pods).hosts()))

    @cached_property
    def prefix_length(self) -> int:
        return ipaddress.ip_network(self.pods).prefixlen

    @cached_property
    def kubernetes_service(self) -> str:
        return str(next(ipaddress.ip_network(self.services).hosts()))

    @property
    def server(self) -> str:
        return f"https://{self.node_address}:{self.port}"

    @cached_property
    def issuer(self) -> str:
        """A public name as EKS gives it, without a port: AWS refuses a provider URL that has one. The sandbox maps it to `server`."""
        number = hashlib.sha256(f"{self.name} {self.pods}".encode()).hexdigest()[:32].upper()
        return f"https://oidc.eks.{self.region}.amazonaws.com/id/{number}"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def ca_file(self) -> Path:
        return self.directory / "pki" / "ca.crt"

    @property
    def containerd_socket(self) -> Path:
        return self.directory / "containerd" / "containerd.sock"
