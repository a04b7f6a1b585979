"""Fetching an issuer's public documents: anonymous, over https, bounded in time and size, without redirects.

A provider's URL is chosen by whoever registers it, and the place of its keys by whoever serves it, so this is the one place
where somebody else decides where we connect to. http is used only for a name that the operator mapped to a local address.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

from towpath.errors import UsageError
from towpath.oidc.download import DownloadError, download
from towpath.oidc.errors import IssuerUnreachable, shown

if TYPE_CHECKING:
    import ssl

TIMEOUT: Final = 5.0  # seconds for one whole fetch: STS gives up then too
LIMIT: Final = 1024 * 1024  # bytes of one document
ENVIRONMENT: Final = "TOWPATH_ISSUER_MAP"

_EXAMPLE: Final = "write https://oidc.eks.eu-west-1.amazonaws.com/id/HEX=https://127.0.0.1:6443,ca.crt"
_PRINTABLE: Final = re.compile(r"[!-~]+")
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


@dataclass(frozen=True, kw_only=True)
class IssuerMapping:
    """URLs that begin with `public` are fetched from `local` instead, trusting `ca_file` (PEM) where it is given.

    The certificate there has to be for `local`'s host. `local` may be `public` itself, to name a private CA.

    `*` in `public`'s host stands for one or more characters of a host name. Both are prefixes that end where a path's
    segment ends: both with a slash, or neither. Raises UsageError.
    """

    public: str
    local: str
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        public, local = _split(self.public), _split(self.local)
        if public is None or public[0] != "https" or "*" in public[2]:
            reason = "PUBLIC is an https URL, with * in its host at most"
        elif local is None or local[0] not in {"http", "https"} or "*" in self.local:
            reason = "LOCAL is an http or https URL"
        elif self.public.endswith("/") != self.local.endswith("/"):
            # Or https://a/=http://b:80 would make http://b:8080/ of https://a/80/.
            reason = "PUBLIC and LOCAL end with a slash both, or neither does"
        elif self.ca_file is not None and local[0] == "http":
            reason = "a CA file is for an https LOCAL"
        else:
            return
        raise UsageError(f"{self.public}={self.local}: {reason}", where="issuer mapping (--map-issuer)", todo=_EXAMPLE)

    @classmethod
    def parse(cls, text: str) -> IssuerMapping:
        """`PUBLIC=LOCAL[,CA_FILE]`. Raises UsageError."""
        public, equals, rest = text.partition("=")
        local, _, ca_file = rest.partition(",")
        if not equals:
            raise UsageError(
                f"{text!r} is not PUBLIC=LOCAL[,CA_FILE]", where="issuer mapping (--map-issuer)", todo=_EXAMPLE
            )
        path = Path(ca_file) if ca_file else None
        if path is not None and not path.is_file():
            raise UsageError(
                f"there is no CA file {ca_file}",
                where="issuer mapping (--map-issuer)",
                todo="give the path of a PEM file",
            )
        return cls(public=public, local=local, ca_file=path)

    def rewrite(self, url: str) -> str | None:
        """The local URL, or None when this mapping does not speak of `url`."""
        pattern = "".join("[A-Za-z0-9.-]+" if char == "*" else re.escape(char) for char in self.public)
        match = re.match(pattern, url)
        if match is None:
            return None
        rest = url[match.end() :]
        # A prefix ends where a segment does, or …/id/AB would map …/id/ABC too.
        if rest and not self.public.endswith("/") and not rest.startswith("/"):
            return None
        return self.local + rest


def mappings_from_environment(environ: Mapping[str, str]) -> tuple[IssuerMapping, ...]:
    """The mappings of TOWPATH_ISSUER_MAP, separated by white space. Raises UsageError naming the variable."""
    try:
        return tuple(IssuerMapping.parse(text) for text in environ.get(ENVIRONMENT, "").split())
    except UsageError as error:
        raise UsageError(error.what, where=ENVIRONMENT, todo=error.todo) from None


class Fetcher:
    """Gets JSON objects. Thread-safe. The first mapping that speaks of a URL is used."""

    def __init__(self, mappings: Sequence[IssuerMapping] = (), *, timeout: float = TIMEOUT, limit: int = LIMIT) -> None:
        """`timeout`: seconds for one whole fetch, from looking the name up to the last byte. `limit`: bytes."""
        self._mappings = tuple(mappings)
        self._timeout = timeout
        self._limit = limit
        self._public_cas: ssl.SSLContext | None = None

    def get_json(self, url: str) -> dict[str, Any]:
        """The JSON object at `url`. Raises IssuerUnreachable for anything else, or nothing within the bounds."""
        target, ca_file = self._target(url)
        context = self._context(url, target, ca_file)
        try:
            body = download(target, context=context, timeout=self._timeout, limit=self._limit)
        except DownloadError as error:
            todo = (
                f"serve it with a certificate for its host name, or name its CA in {ENVIRONMENT}=PUBLIC=LOCAL,CA_FILE"
                if error.certificate
                else ""
            )
            raise _unreachable(url, str(error) + _at(url, target), todo=todo) from None
        try:
            value = json.loads(body.decode())
        except (ValueError, RecursionError):
            raise _unreachable(url, "the answer is not JSON in UTF-8" + _at(url, target)) from None
        if not isinstance(value, dict):
            raise _unreachable(url, "the answer is not a JSON object" + _at(url, target))
        return cast("dict[str, Any]", value)

    def _target(self, url: str) -> tuple[str, Path | None]:
        """Where `url` is fetched from, and the CA to trust there."""
        parts = _split(url)
        if parts is None or "#" in url or "*" in url.partition("?")[0]:
            raise _unreachable(url, f"{shown(url)} is not a URL of a host and a path")
        for mapping in self._mappings:
            if (local := mapping.rewrite(url)) is not None:
                # The client would resolve these, and so leave the part of the local server that was mapped.
                if {".", ".."} & set(re.split(r"[/\\]", unquote(parts[2]))):
                    raise _unreachable(url, "its path has a '.' or '..' segment")
                return local, mapping.ca_file
        if parts[0] != "https":
            raise _unreachable(url, f"only https is fetched; http needs a mapping in {ENVIRONMENT}")
        return url, None

    def _context(self, url: str, target: str, ca_file: Path | None) -> ssl.SSLContext:
        import ssl

        if target.startswith("http:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused, and without the cost of reading the public CAs
        if ca_file is not None:
            try:
                return ssl.create_default_context(cafile=str(ca_file))
            except OSError as error:  # ssl.SSLError is one: the file holds no certificate
                raise _unreachable(
                    url, f"the CA file {ca_file} cannot be used: {error}", todo="give the path of a PEM file"
                ) from None
        if self._public_cas is None:
            import httpx2

            self._public_cas = httpx2.create_ssl_context(trust_env=False)
        return self._public_cas


def _split(url: str) -> tuple[str, str, str] | None:
    """Scheme, authority, path; None for what no issuer has: user names, spaces, characters outside ASCII, no host."""
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return None
    if not port_fits or not _AUTHORITY.fullmatch(parts.netloc.replace("*", "x")):
        return None
    return parts.scheme, parts.netloc, parts.path


def _at(url: str, target: str) -> str:
    return "" if url == target else f" (read at {target})"


def _unreachable(url: str, reason: str, *, todo: str = "") -> IssuerUnreachable:
    shell = shlex.quote(url)  # the URL may be a stranger's, and this line is made to be pasted
    return IssuerUnreachable(
        f"cannot read the issuer's document: {reason}",
        where=url if _PRINTABLE.fullmatch(url) else shown(url),
        todo=todo or f"make it readable without credentials: curl -sS {shell}",
    )
