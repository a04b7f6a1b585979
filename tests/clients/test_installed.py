"""The clients that are installed for these tests. `.ci/run` runs them; the first time costs a minute of downloads."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from towpath.sandbox.main import Sandbox
from towpath.sandbox.tls import Authority

from . import aws_by_name, installed
from .conftest import HERE, Pod

Check = Callable[..., list[dict[str, Any]]]
pytestmark = pytest.mark.long


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
@pytest.mark.parametrize("provider", ["the client's own chain", "token file"])
def test_javascript(moves_without_a_key: Check, provider: str, tls: bool) -> None:
    told = moves_without_a_key(installed.javascript(), tls=tls, CLIENT_PROVIDER=provider)
    assert _refusal(told)["code"] == "AccessDenied"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_go(moves_without_a_key: Check, tls: bool) -> None:
    told = moves_without_a_key([installed.go()], tls=tls)
    assert _refusal(told)["code"] == "AccessDenied"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_java(moves_without_a_key: Check, towpath_sandbox: Sandbox, tls: bool, tmp_path: Path) -> None:
    """Java knows none of the variables: it takes a trust store, made here from the CA's certificate."""
    java, *rest = installed.java()
    store = str(tmp_path / "trust.p12")
    words = [
        "-importcert",
        "-noprompt",
        "-file",
        towpath_sandbox.ca_file,
        "-keystore",
        store,
        "-storepass",
        "public",
        "-alias",
        "sandbox",
    ]
    subprocess.run(["keytool", *words], check=True, capture_output=True)
    options = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=public"] if tls else []
    told = moves_without_a_key([java, *options, *rest], refusal="is not authorized to perform: s3:PutObject", tls=tls)
    assert _refusal(told)["code"] == "AccessDenied"


@pytest.mark.parametrize("client", ["obstore", "polars", "deltalake"])
def test_object_store(moves_without_a_key: Check, client: str) -> None:
    """Over TLS only: its exchange at STS refuses http, whatever AWS_ALLOW_HTTP says."""
    moves_without_a_key(
        [installed.python(), str(HERE / "programs" / f"with_{client}.py")], tls=True, PYTHONPATH=str(HERE)
    )


def test_object_store_refuses_http_for_the_exchange(pod: Pod) -> None:
    command = [installed.python(), str(HERE / "programs" / "with_obstore.py")]
    with pytest.raises(AssertionError, match="BadScheme"):
        pod.run(command, PYTHONPATH=str(HERE), AWS_ALLOW_HTTP="true")
    assert pod.calls() == []


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_duckdb(moves_without_a_key: Check, towpath_sandbox: Sandbox, tls: bool, tmp_path: Path) -> None:
    """Its exchange goes to AWS's own name at port 443, so the process sees that name at the sandbox's address."""
    program = [installed.python(), str(HERE / "programs" / "with_duckdb.py")]
    of_obstore = {
        "AWS_ENDPOINT_URL_STS": towpath_sandbox.tls_endpoint,
        "AWS_ALLOW_HTTP": "true",
        **towpath_sandbox.trust_environment(),
    }
    with aws_by_name.relay(towpath_sandbox, "sts.eu-west-1.amazonaws.com", tmp_path) as inside:
        moves_without_a_key([*inside, *program], tls=tls, PYTHONPATH=str(HERE), **of_obstore)


@pytest.mark.parametrize(
    ("name", "asked", "believed"),
    [
        (x509.DNSName("localhost"), "localhost", True),
        (x509.DNSName("lake.localhost"), "lake.localhost", True),
        (x509.DNSName("evil.example"), "evil.example", False),
        (x509.DNSName("s3.eu-west-1.amazonaws.com"), "s3.eu-west-1.amazonaws.com", False),
    ],
)
def test_go_believes_the_authority_for_its_names_only(
    tmp_path: Path, name: x509.GeneralName, asked: str, believed: bool
) -> None:
    authority = Authority(["localhost", "127.0.0.1", "::1"])
    files = {
        "ca.pem": authority.certificate,
        "leaf.pem": authority._leaf([name]).public_bytes(serialization.Encoding.PEM),
    }
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    command = [installed.go(), "verify", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem"), asked]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode == 0) == believed, done.stderr
    assert believed or "is not permitted by any constraint" in done.stderr


def _refusal(told: list[dict[str, Any]]) -> dict[str, Any]:
    return next(line for line in told if line["step"] == "refused")
