"""Keys made once a session, tokens forged without any library of ours, and real servers, http and https, that misbehave."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from towpath.oidc.errors import TokenCode, TokenError
from towpath.oidc.fetch import Fetcher

NOW = 1_800_000_000
ISSUER = "https://oidc.eks.eu-west-1.amazonaws.com/id/" + "A" * 32
AUDIENCE = "sts.amazonaws.com"
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Sign = Callable[[bytes], bytes]


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value: int, size: int) -> str:
    return b64(value.to_bytes(size))


def jwk_of(key: Private, kid: str, **more: Any) -> dict[str, Any]:
    """The public JWK, written from RFC 7518 section 6."""
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        return {"kty": "RSA", "kid": kid, "n": number(public.n, key.key_size // 8), "e": "AQAB", **more}
    point = key.public_key().public_numbers()
    size = (key.key_size + 7) // 8
    curve = next(name for name, c in CURVES.items() if c.name == key.curve.name)
    return {"kty": "EC", "kid": kid, "crv": curve, "x": number(point.x, size), "y": number(point.y, size), **more}


def signer(key: Private, algorithm: str) -> Sign:
    digest = HASHES[algorithm[2:]]
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda text: key.sign(text, padding.PKCS1v15(), digest)

    def sign(text: bytes) -> bytes:
        size = (key.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(digest)))
        return r.to_bytes(size) + s.to_bytes(size)

    return sign


def hs256(secret: bytes) -> Sign:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


def forge(header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, sign: Sign) -> str:
    """A token that gets exactly that wrong which the test says; bytes are taken as they are."""
    first, second = (b64(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload))
    text = f"{first}.{second}"
    return f"{text}.{b64(sign(text.encode()))}"


def good_payload(**change: Any) -> dict[str, Any]:
    """What a cluster puts in a service account's token at NOW; a value of None leaves the claim out."""
    payload: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "system:serviceaccount:data:hd-job-sa",
        "aud": [AUDIENCE],
        "exp": NOW + 3600,
        "iat": NOW,
        "nbf": NOW,
        "jti": "5b5e3f6e-7d2e-4a0c-9a44-1f8f1d1f1a11",
        "kubernetes.io": {"namespace": "data", "serviceaccount": {"name": "hd-job-sa", "uid": "u-1"}},
    }
    return {name: value for name, value in (payload | change).items() if value is not None}


@dataclass(frozen=True)
class Keys:
    rsa: rsa.RSAPrivateKey
    stranger: rsa.RSAPrivateKey
    curves: dict[str, ec.EllipticCurvePrivateKey]

    @property
    def jwk(self) -> dict[str, Any]:
        return jwk_of(self.rsa, "k1", use="sig", alg="RS256")

    @property
    def pem(self) -> bytes:
        return self.rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def good(self, **change: Any) -> str:
        return forge({"alg": "RS256", "kid": "k1"}, good_payload(**change), signer(self.rsa, "RS256"))


@pytest.fixture(scope="session")
def keys() -> Keys:
    mine, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    return Keys(rsa=mine, stranger=other, curves={name: ec.generate_private_key(c) for name, c in CURVES.items()})


def keyring(*jwks: Mapping[str, Any]) -> Callable[[str, str], Mapping[str, Any]]:
    """A key lookup over what is given, for ISSUER."""

    def find(issuer: str, kid: str) -> Mapping[str, Any]:
        assert issuer == ISSUER
        for jwk in jwks:
            if jwk["kid"] == kid:
                return jwk
        raise TokenError(TokenCode.UNKNOWN_KEY, f"no key {kid}")

    return find


# --- servers -----------------------------------------------------------------------------------------------------

Answer = Callable[[http.server.BaseHTTPRequestHandler, threading.Event], None]


def answer(
    body: bytes | object, *, status: int = 200, length: int | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()

    def write(request: http.server.BaseHTTPRequestHandler, _: threading.Event) -> None:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(encoded) if length is None else length))
        request.end_headers()
        request.wfile.write(encoded)

    return write


def drip(first: bytes, then: bytes, *, pause: float) -> Answer:
    """Bytes as they stand, `then` again and again with a pause, until the reader or the test is gone."""

    def write(request: http.server.BaseHTTPRequestHandler, over: threading.Event) -> None:
        request.wfile.write(first)
        while not over.wait(pause):
            request.wfile.write(then)
            request.server.sent += len(then)  # type: ignore[attr-defined]

    return write


def raw(written: bytes) -> Answer:
    """Bytes as they stand, and the end."""
    return lambda request, _: request.wfile.write(written) and None


@dataclass
class Site:
    """A running server: its URL, what it answers by path, and what it was asked."""

    url: str
    routes: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    sent: Callable[[], int] = lambda: 0


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    sent = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that goes away early is what these tests are about."""


class Sites:
    """Starts servers; ends them all."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._servers: list[_Server] = []

    def start(self, context: ssl.SSLContext | None = None) -> Site:
        over = self._over

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append(self.path)
                site.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.close_connection = True
                site.routes.get(self.path, answer(b"nothing here", status=404))(self, over)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = _Server(("127.0.0.1", 0), Handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self._servers.append(server)
        scheme = "http" if context is None else "https"
        site = Site(url=f"{scheme}://127.0.0.1:{server.server_port}", sent=lambda: server.sent)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return site

    def stop(self) -> None:
        self._over.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def sites() -> Iterator[Sites]:
    found = Sites()
    yield found
    found.stop()


@pytest.fixture
def site(sites: Sites) -> Site:
    return sites.start()


@dataclass(frozen=True)
class Authority:
    """A certificate authority nobody trusts who was not told to."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        return self.folder / "ca.crt"

    def context(self, address: str) -> ssl.SSLContext:
        """For a server whose certificate is for that IP address or host name."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(address))
        except ValueError:
            name = x509.DNSName(address)
        builder = _certificate(address, self.certificate.subject, key.public_key())
        signed = (
            builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = self.folder / f"{address}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _certificate(common_name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "towpath test CA")])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _certificate("towpath test CA", name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("authority")
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(folder=folder, key=key, certificate=certificate)


class Documents(Fetcher):
    """A Fetcher over documents in memory, which counts; a document that is an exception is raised."""

    def __init__(self, documents: dict[str, Any]) -> None:
        super().__init__()
        self.documents = documents
        self.asked: list[str] = []

    def get_json(self, url: str) -> dict[str, Any]:
        self.asked.append(url)
        found = self.documents[url]
        if isinstance(found, Exception):
            raise found
        return found
