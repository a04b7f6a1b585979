"""The sandbox's own certificate authority: made at start, for this sandbox's names and no others, ended with it.

A client that is told to trust it must not thereby trust it for anything else, so it is name-constrained (RFC 5280,
section 4.2.1.10), and its key never leaves this process's memory. What lies on a disk while the sandbox runs is public:
the CA's certificate, alone and beside the roots a client trusted before. No system store is touched.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = timedelta(days=30)
SKEW: Final = timedelta(minutes=5)  # a client's clock may be behind
MOST_NAMES: Final = 256  # certificates of buckets' own names kept at once
LONGEST_NAME: Final = 253

# Variables whose file replaces what a client trusts: it gets a bundle. Node's adds to it: it gets the CA alone.
REPLACING: Final = ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
ADDING: Final = ("NODE_EXTRA_CA_CERTS",)
SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


class Authority:
    """A CA that signs for `names` (host names and IP addresses) and for what lies under the host names.

    `context` is the TLS server's: TLS 1.2 and later. A bucket's own name (`bucket.localhost`) gets its certificate when
    a client first asks for it: OpenSSL takes no wildcard directly under a name of one label, rustls takes the whole
    certificate for broken, and no wildcard covers a bucket with a dot in its name.
    """

    def __init__(self, names: Iterable[str], *, now: datetime | None = None) -> None:
        wanted = sorted({name.lower().rstrip(".") for name in names})
        self._addresses = [found for name in wanted if (found := _address(name)) is not None]
        self._hosts = [name for name in wanted if _address(name) is None]
        self._now = now or datetime.now(UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"towpath sandbox {secrets.token_hex(4)}")])
        self._certificate = self._own()
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._of_buckets: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._lock = Lock()
        general: list[x509.GeneralName] = [x509.IPAddress(address) for address in self._addresses]
        general += [x509.DNSName(host) for host in self._hosts]
        self.context = self._context(general)
        self.context.sni_callback = self._choose

    @property
    def certificate(self) -> bytes:
        """The CA's certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def _own(self) -> x509.Certificate:
        permitted: list[x509.GeneralName] = [x509.DNSName(host) for host in self._hosts]
        permitted += [x509.IPAddress(ipaddress.ip_network(address)) for address in self._addresses]
        return (
            self._begin(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _leaf(self, general: list[x509.GeneralName]) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "towpath sandbox")])
        return (
            self._begin(subject, self._leaf_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(general), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _begin(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - SKEW)
            .not_valid_after(self._now - SKEW + LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _context(self, general: list[x509.GeneralName]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        _load(context, self._leaf(general), self._leaf_key)
        return context

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Called in the handshake with the name the client asks for."""
        name = (name or "").lower()
        if len(name) > LONGEST_NAME or not any(name.endswith(f".{host}") for host in self._hosts):
            return  # the certificate with all our names; whether that will do is the client's to say
        with self._lock:
            context = self._of_buckets.get(name)
            if context is None:
                try:
                    context = self._context([x509.DNSName(name)])
                except ValueError:  # no name a certificate can carry
                    return
                self._of_buckets[name] = context
                if len(self._of_buckets) > MOST_NAMES:
                    self._of_buckets.popitem(last=False)
            self._of_buckets.move_to_end(name)
        connection.context = context


class TrustFiles:
    """The files that make clients trust an authority, and the variables that name them."""

    def __init__(self, certificate: bytes, *, environ: Mapping[str, str], directory: Path) -> None:
        """`directory` is made with mode 0700; nothing in it is secret. `environ`: what clients were told to trust before."""
        self._directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)
        self.certificate = self._write("ca.pem", certificate)
        self.variables = {name: str(self.certificate) for name in ADDING}
        bundles: dict[bytes, Path] = {}
        for name in REPLACING:
            before = _read(environ.get(name)) or _system_roots()
            if before not in bundles:
                bundles[before] = self._write(
                    f"bundle-{len(bundles)}.pem" if bundles else "bundle.pem", before + certificate
                )
            self.variables[name] = str(bundles[before])
        for name in ADDING:
            if before := _read(environ.get(name)):
                self.variables[name] = str(self._write(f"{name.lower()}.pem", before + certificate))

    def _write(self, name: str, content: bytes) -> Path:
        path = self._directory / name
        path.write_bytes(content)
        return path.resolve()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _load(context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Python's ssl reads keys from files only: the file is encrypted under a password of this moment, and deleted at once."""
    password = secrets.token_bytes(16).hex()
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    descriptor, name = tempfile.mkstemp(prefix="towpath-tls-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        context.load_cert_chain(name, password=password)
    finally:
        Path(name).unlink()


def _system_roots() -> bytes:
    """What this machine trusts, in one file: its own bundle, else the one Python's `certifi` carries, else nothing."""
    own = ssl.get_default_verify_paths().openssl_cafile
    for path in (own, *SYSTEM_BUNDLES):
        if found := _read(path):
            return found
    try:
        import certifi
    except ImportError:
        return b""
    return Path(certifi.where()).read_bytes().rstrip(b"\n") + b"\n"


def _read(path: str | None) -> bytes:
    """The file's text, ending in a line break; nothing where there is none."""
    if not path:
        return b""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return b""
    return content.rstrip(b"\n") + b"\n" if content.strip() else b""
