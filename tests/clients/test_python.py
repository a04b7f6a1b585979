"""The Python clients of the development environment: they speak http and, told the CA, TLS."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import HERE

Check = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
@pytest.mark.parametrize(
    ("client", "refusal"), [("boto3", "AccessDenied"), ("aws_cli", "AccessDenied"), ("s3fs", "AccessDenied")]
)
def test_client(client: str, refusal: str, tls: bool, moves_without_a_key: Check) -> None:
    program = HERE / "programs" / f"with_{client}.py"
    moves_without_a_key([sys.executable, str(program)], refusal=refusal, tls=tls, PYTHONPATH=str(HERE))
