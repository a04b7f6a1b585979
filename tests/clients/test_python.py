"""The Python clients of the development environment: they speak http and, told the CA, TLS."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from towpath.sandbox.main import Sandbox

from . import aws_by_name
from .conftest import HERE, Pod

Check = Callable[..., list[dict[str, Any]]]


def program(client: str) -> list[str]:
    return [sys.executable, str(HERE / "programs" / f"with_{client}.py")]


@pytest.mark.parametrize("tls", [False, pytest.param(True, marks=pytest.mark.long)], ids=["http", "tls"])
@pytest.mark.parametrize("client", ["boto3", "aws_cli", "s3fs"])
def test_client(client: str, tls: bool, moves_without_a_key: Check) -> None:
    moves_without_a_key(program(client), tls=tls, PYTHONPATH=str(HERE))


def test_pyarrow_by_the_name_of_sts(moves_without_a_key: Check, towpath_sandbox: Sandbox, tmp_path: Path) -> None:
    trust = towpath_sandbox.trust_environment()
    with aws_by_name.relay(towpath_sandbox, "sts.eu-west-1.amazonaws.com", tmp_path) as inside:
        moves_without_a_key(
            [*inside, *program("pyarrow")], refusal="ACCESS_DENIED", PYTHONPATH=str(HERE), CLIENT_BY_NAME="1", **trust
        )


@pytest.mark.parametrize("tls", [False, pytest.param(True, marks=pytest.mark.long)], ids=["http", "tls"])
def test_pyarrow_that_goes_on_unsigned_is_refused(pod: Pod, tls: bool) -> None:
    """The same program told an endpoint of STS drops it, has no credentials, and asks S3 without a signature."""
    before = len(pod.sandbox.record.as_json())
    with pytest.raises(AssertionError, match="ACCESS_DENIED"):
        pod.run(program("pyarrow"), tls=tls, PYTHONPATH=str(HERE))
    seen = {
        (call["who"], call["action"], call["decision"], call["code"]) for call in pod.sandbox.record.as_json()[before:]
    }
    assert seen == {("anonymous", "s3:PutObject", "denied", "AccessDenied")}
