"""Settings that the emulator would take and forget: NotImplemented, before anything is made or changed.

What AWS would enforce, show or bill for and nobody here would is worse kept silent than refused. Which parameters these are,
tests/integration/sandbox/test_forgotten.py finds by reading the emulator: a new one of a service's model is missed by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from towpath.sandbox.errors import AwsError

_CLUSTER: Final = frozenset(
    {
        "accessConfig",
        "computeConfig",
        "controlPlaneScalingConfig",
        "deletionProtection",
        "kubeApiServerConfig",
        "kubeControllerManagerConfig",
        "kubeSchedulerConfig",
        "storageConfig",
        "upgradePolicy",
        "zonalShiftConfig",
    }
)
FORGOTTEN: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "iam": {
        "CreateSAMLProvider": frozenset({"AddPrivateKey", "AssertionEncryptionMode", "Tags"}),
        "CreateVirtualMFADevice": frozenset({"Tags"}),
        "UpdateSAMLProvider": frozenset({"AddPrivateKey", "AssertionEncryptionMode", "RemovePrivateKey"}),
        "UploadServerCertificate": frozenset({"Tags"}),
    },
    "eks": {
        "CreateCluster": _CLUSTER | {"bootstrapSelfManagedAddons", "outpostConfig"},
        "CreateNodegroup": frozenset({"nodeRepairConfig", "updateConfig", "warmPoolConfig"}),
        "UpdateClusterConfig": _CLUSTER,
        "UpdateNodegroupConfig": frozenset({"warmPoolConfig"}),
    },
}


def check(service: str, operation: str, parameters: Mapping[str, Any]) -> None:
    """Raises AwsError NotImplemented."""
    given = sorted(FORGOTTEN.get(service, {}).get(operation, frozenset()) & parameters.keys())
    if given:
        raise AwsError("NotImplemented", f"This sandbox would forget {', '.join(given)} of {operation}.", 501)
