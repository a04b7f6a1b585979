"""TLS at the same port: who trusts it, for which names, and what the CA could sign but nobody would believe."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID

from towpath.sandbox.server import Server
from towpath.sandbox.tls import ADDING, REPLACING, Authority, TrustFiles
from towpath.sandbox.wire import Response

from .conftest import World

Code = Callable[[Callable[[], Any]], str]


def trusting(world: World) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=world.sandbox.ca_file)


def get(url: str, context: ssl.SSLContext, **more: Any) -> httpx2.Response:
    return httpx2.get(url, verify=context, trust_env=False, timeout=10, **more)


def test_both_are_served_at_one_port(world: World) -> None:
    plain, secure = urlsplit(world.sandbox.endpoint), urlsplit(world.sandbox.tls_endpoint)
    assert (plain.scheme, secure.scheme) == ("http", "https")
    assert plain.netloc == secure.netloc
    path = f"/.towpath/issuers/{world.cluster.identifier}/keys"
    assert (
        get(world.sandbox.tls_endpoint + path, trusting(world)).json()
        == get(world.sandbox.endpoint + path, trusting(world)).json()
    )


def test_client_that_does_not_trust_it_goes_away(world: World) -> None:
    assert get(world.sandbox.tls_endpoint, trusting(world)).status_code == 403
    with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
        get(world.sandbox.tls_endpoint, ssl.create_default_context())


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "lake.localhost", "lake.raw.localhost", "lake.s3.localhost"]
)
def test_its_names(world: World, host: str) -> None:
    """Virtual-hosted buckets too, with dots in their names."""
    assert _handshake(world, trusting(world), host) in {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize("host", ["sandbox.test", "localhost.evil.example", "s3.eu-west-1.amazonaws.com", "127.0.0.2"])
def test_other_names_are_not_its(world: World, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        _handshake(world, trusting(world), host)


def test_old_versions_are_refused(world: World) -> None:
    context = trusting(world)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert _handshake(world, context, "localhost") == "TLSv1.2"
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)alert|version|protocol"):
        _handshake(world, context, "localhost")


def test_policy_that_asks_for_tls(world: World, bucket: str, code: Code) -> None:
    world.role(
        "secure-only",
        {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": {"Bool": {"aws:SecureTransport": "true"}},
        },
    )
    session = world.session("secure-only")
    secure = world.client("s3", session, endpoint=world.sandbox.tls_endpoint, verify=world.sandbox.ca_file)
    assert secure.get_object(Bucket=bucket, Key="raw/present")["Body"].read() == b"here"
    plain = world.client("s3", session)
    assert code(lambda: plain.get_object(Bucket=bucket, Key="raw/present")).startswith("AccessDenied: ")


def test_virtual_hosted_bucket_over_tls(world: World, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No resolver knows the name, so this test is the resolver."""
    port = urlsplit(world.sandbox.endpoint).port
    resolve = socket.getaddrinfo

    def resolver(host: Any, *more: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith(".localhost") else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    for endpoint in (f"https://localhost:{port}", f"http://localhost:{port}"):
        s3 = world.client(
            "s3", config=Config(s3={"addressing_style": "virtual"}), endpoint=endpoint, verify=world.sandbox.ca_file
        )
        answer = s3.get_object(Bucket=bucket, Key="raw/present")
        assert answer["Body"].read() == b"here"


# --- the certificates, as OpenSSL and curl see them ----------------------------------------------------------------


def test_authority_is_short_lived_and_constrained(world: World) -> None:
    authority = x509.load_pem_x509_certificate(Path(world.sandbox.ca_file).read_bytes())
    assert authority.not_valid_after_utc - authority.not_valid_before_utc <= timedelta(days=30)
    basic = authority.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
    constraints = authority.extensions.get_extension_for_oid(ExtensionOID.NAME_CONSTRAINTS)
    assert basic.critical
    assert constraints.critical
    assert isinstance(basic.value, x509.BasicConstraints)
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    assert isinstance(constraints.value, x509.NameConstraints)
    permitted = [str(name.value) for name in constraints.value.permitted_subtrees or []]
    assert permitted == ["localhost", "sts.eu-west-1.amazonaws.com", "127.0.0.1/32", "::1/128"]  # one is --host's


@pytest.mark.parametrize(
    ("name", "believed"),
    [
        (x509.DNSName("localhost"), True),
        (x509.DNSName("lake.localhost"), True),
        (x509.DNSName("evil.example"), False),
        (x509.DNSName("sts.eu-west-1.amazonaws.com"), False),
        (x509.DNSName("notlocalhost"), False),
    ],
)
@pytest.mark.skipif(shutil.which("openssl") is None, reason="Debian's openssl is not installed here")
def test_openssl_believes_it_for_its_names_only(tmp_path: Path, name: x509.GeneralName, believed: bool) -> None:
    authority = Authority(["localhost", "127.0.0.1", "::1"])
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    (tmp_path / "leaf.pem").write_bytes(authority._leaf([name]).public_bytes(serialization.Encoding.PEM))
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem", "leaf.pem"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert (done.returncode == 0) == believed, done.stdout + done.stderr
    assert believed or "permitted subtree violation" in done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")
def test_curl(world: World) -> None:
    def curl(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            "curl",
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--output",
            os.devnull,
            "--write-out",
            "%{http_code}",
        ]
        return subprocess.run(
            [*command, *arguments], check=False, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
        )

    port = urlsplit(world.sandbox.endpoint).port
    trust = ("--cacert", world.sandbox.environment()["CURL_CA_BUNDLE"])
    for name in ("127.0.0.1", "localhost", "lake.localhost"):
        # A name below localhost is a bucket's, and there is none of that name.
        assert curl(*trust, f"https://{name}:{port}/").stdout == ("404" if name.startswith("lake.") else "403")
    refused = curl("--cacert", "/dev/null", f"https://127.0.0.1:{port}/")
    assert refused.returncode in {60, 77}


# --- what lies on a disk -------------------------------------------------------------------------------------------


def test_no_key_lies_on_a_disk(world: World) -> None:
    folder = Path(world.sandbox.ca_file).parent
    assert folder.stat().st_mode & 0o077 == 0
    assert list(folder.iterdir())
    for path in folder.iterdir():
        assert b"CERTIFICATE" in path.read_bytes()
        assert b"PRIVATE" not in path.read_bytes()


def test_files_that_replace_trust_keep_what_was_trusted(tmp_path: Path) -> None:
    ours = Authority(["localhost"]).certificate
    theirs = Authority(["localhost"]).certificate
    company = tmp_path / "company.pem"
    company.write_bytes(theirs.rstrip(b"\n"))
    environ = {"SSL_CERT_FILE": str(company), "NODE_EXTRA_CA_CERTS": str(company), "CURL_CA_BUNDLE": "/nowhere"}
    files = TrustFiles(ours, environ=environ, directory=tmp_path / "tls")
    assert set(files.variables) == {*ADDING, *REPLACING}
    content = {name: Path(path).read_bytes() for name, path in files.variables.items()}
    assert content["SSL_CERT_FILE"] == content["NODE_EXTRA_CA_CERTS"] == theirs + ours
    roots = content["AWS_CA_BUNDLE"].removesuffix(ours)
    assert roots.count(b"BEGIN CERTIFICATE") > 50  # the machine's own
    assert content["CURL_CA_BUNDLE"] == content["REQUESTS_CA_BUNDLE"] == roots + ours
    assert files.certificate.read_bytes() == ours
    assert (tmp_path / "tls").stat().st_mode & 0o077 == 0


def test_expired_authority_is_refused() -> None:
    for days, expectation in ((0, nullcontext()), (31, pytest.raises(httpx2.ConnectError, match="expired"))):
        authority = Authority(["localhost"], now=datetime.now(UTC) - timedelta(days=days))
        context = ssl.create_default_context(cadata=authority.certificate.decode())
        running = Server(lambda _: Response(status=200), host="127.0.0.1", port=0, tls=authority.context)
        running.start()
        try:
            with expectation:
                assert get(f"https://localhost:{running.port}/", context).status_code == 200
        finally:
            running.stop()


def _handshake(world: World, context: ssl.SSLContext, host: str) -> str | None:
    """The version a handshake ended with, the certificate checked for `host`."""
    address = ("127.0.0.1", urlsplit(world.sandbox.endpoint).port)
    with (
        socket.create_connection(address, timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=host) as wrapped,
    ):
        return wrapped.version()
