"""The cluster's certificates and kubeconfigs, thirty days each, every key 0600."""

from __future__ import annotations

import base64
import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.cluster.settings import NODE, Settings

DAYS: Final = 30
# file name: (common name, organisation)
USERS: Final = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "kube-router": ("kube-router", ""),
    "apiserver-kubelet-client": ("apiserver-kubelet-client", "system:masters"),
}


def make(settings: Settings) -> None:
    """Everything anew under `pki`, and the administrator's kubeconfig beside it, complete in one file."""
    folder = settings.directory / "pki"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority(folder)
    names = [x509.DNSName(name) for name in ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")]
    addresses = [
        x509.IPAddress(ipaddress.ip_address(each))
        for each in ("127.0.0.1", settings.node_address, settings.kubernetes_service)
    ]
    authority.issue("apiserver", "kube-apiserver", "", names=[*names, *addresses])
    authority.issue("kubelet-server", NODE, "", names=[x509.DNSName(NODE), *addresses])
    for name, (common, organisation) in USERS.items():
        authority.issue(name, common, organisation)
        write(folder / f"{name}.kubeconfig", kubeconfig(settings, folder, name))
    write(settings.kubeconfig, kubeconfig(settings, folder, "admin"))
    signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write(folder / "sa.key", _key(signing))
    public = signing.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write(folder / "sa.pub", public)


class Authority:
    """The cluster's own certificate authority."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("towpath-cluster-ca", "")
        builder = _builder(self._name, self._name, self._private.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(authority=True), critical=True)
        certificate = builder.sign(self._private, hashes.SHA256())
        write(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))
        write(folder / "ca.key", _key(self._private))

    def issue(self, file: str, common: str, organisation: str, *, names: list[Any] | None = None) -> None:
        """FILE.crt and FILE.key: a server's with `names`, else a client's."""
        private = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common, organisation), self._name, private.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(authority=False), critical=True)
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._private, hashes.SHA256())
        write(self._folder / f"{file}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        write(self._folder / f"{file}.key", _key(private))


def kubeconfig(settings: Settings, folder: Path, user: str) -> bytes:
    def content(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    cluster = {"server": settings.server, "certificate-authority-data": content("ca.crt")}
    credentials = {"client-certificate-data": content(f"{user}.crt"), "client-key-data": content(f"{user}.key")}
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": settings.name, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": settings.name, "context": {"cluster": settings.name, "user": user}}],
        "current-context": settings.name,
    }
    return yaml.safe_dump(value, sort_keys=False).encode()


def write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _builder(subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=DAYS))
    )


def _name(common: str, organisation: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key(private: Any) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
