"""Fixtures for anyone's tests: a sandbox for the session, and its environment for one test.

Installed as a pytest plugin with towpath; the sandbox itself is imported only when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from towpath.sandbox.main import Sandbox
    from towpath.sandbox.settings import SandboxSettings


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
    import os

    environment = towpath_sandbox.environment()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment
