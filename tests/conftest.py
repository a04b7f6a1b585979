"""What every test starts from: no AWS, Kubernetes or towpath setting of the machine reaches a test."""

from __future__ import annotations

import os

import pytest

from towpath.oidc.fetch import IssuerMapping
from towpath.sandbox.settings import SandboxSettings

FAR_ISSUER = "https://oidc.eks.eu-west-1.amazonaws.com/id/" + "F" * 32  # mapped to a port where nobody listens
STS = "sts.eu-west-1.amazonaws.com"  # a client that takes no other name finds the sandbox under it
STEERING = ("AWS_", "TOWPATH_", "KUBECONFIG", "BOTO_")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith(STEERING)]:
        monkeypatch.delenv(name)
    nowhere = tmp_path_factory.getbasetemp() / "nowhere"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def towpath_sandbox_settings() -> SandboxSettings:
    return SandboxSettings(hosts=(STS,), issuers=(IssuerMapping(public=FAR_ISSUER, local="http://127.0.0.1:9"),))
