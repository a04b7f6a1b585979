"""Fixtures for anyone's tests: a sandbox for the session, and its environment for one test.

Installed as a pytest plugin with towpath; the sandbox itself is imported only when a test asks for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from towpath.sandbox.job_role import Policy
    from towpath.sandbox.main import Sandbox
    from towpath.sandbox.settings import SandboxSettings

SERVICE_ACCOUNT = "tests/job"
TOKEN_SECONDS = 3600
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def towpath_sandbox_settings() -> SandboxSettings | None:
    """What the session's sandbox is started with; override it in a conftest.py to choose a region or map an issuer."""
    return None


@pytest.fixture(scope="session")
def towpath_sandbox(towpath_sandbox_settings: SandboxSettings | None) -> Iterator[Sandbox]:
    """A running sandbox, one for the whole session: an AWS with one account, one EKS cluster and nothing in it."""
    from towpath.sandbox.main import Sandbox

    with Sandbox(towpath_sandbox_settings) as sandbox:
        yield sandbox


@pytest.fixture
def towpath_sandbox_environment(towpath_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The administrator's environment set for one test, so that `boto3.client("s3")` speaks to the sandbox."""
    environment = towpath_sandbox.environment()
    _set(environment, monkeypatch)
    return environment


@pytest.fixture
def towpath_role(
    towpath_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[Policy], dict[str, str]]]:
    """`towpath_role(policy)`: from then on the test is a job with a new role that has this policy and no other.

    `policy` is a document, a list of statements, or one statement. The environment is a service account's: a token file and the role's ARN,
    no key; it is set for the rest of the test and also given back, for a subprocess. The role goes with the test.
    """
    from towpath.sandbox import job_role

    administrator = towpath_sandbox.environment()
    made: list[str] = []

    def role(policy: Policy) -> dict[str, str]:
        name = f"towpath-role-{next(_numbers)}"
        arn = job_role.make(administrator, name, policy, service_account=SERVICE_ACCOUNT)
        made.append(name)
        cluster = towpath_sandbox.clusters.named(towpath_sandbox.settings.cluster)
        assert cluster is not None
        token, _ = cluster.token(*SERVICE_ACCOUNT.split("/"), audiences=None, expires_in=TOKEN_SECONDS)
        environment = job_role.environment(
            administrator, role_arn=arn, token=token, file=tmp_path / f"{name}-token", session="test"
        )
        _set(environment, monkeypatch)
        return environment

    yield role
    for name in made:
        job_role.remove(administrator, name)


def _set(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Set this environment, and nothing else of AWS's; a default session made before would go on with what it had."""
    import os
    import sys

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "boto3" in sys.modules:
        monkeypatch.setattr(sys.modules["boto3"], "DEFAULT_SESSION", None)
