"""Fetching an issuer's public documents: anonymous, over https, bounded in time and size, without redirects.

A provider's URL is chosen by whoever registers it, so this is the one place where somebody else decides where we connect to. http
is used only for a name that the operator mapped to a local address.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from towpath.errors import UsageError
from towpath.oidc.errors import IssuerUnreachable

TIMEOUT: Final = 5.0  # seconds for one whole fetch: STS gives up then too
LIMIT: Final = 1024 * 1024  # bytes of one document
ENVIRONMENT: Final = "TOWPATH_ISSUER_MAP"


@dataclass(frozen=True, kw_only=True)
class IssuerMapping:
    """URLs that begin with `public` are fetched from `local` instead. `*` in `public`'s host stands for any labels."""

    public: str
    local: str
    ca_file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> IssuerMapping:
        """`PUBLIC=LOCAL[,CA_FILE]`. Raises UsageError."""
        public, equals, rest = text.partition("=")
        local, _, ca_file = rest.partition(",")
        example = "write https://oidc.eks.eu-west-1.amazonaws.com/id/HEX=https://127.0.0.1:6443,ca.crt"
        if not equals or not public.startswith("https://") or urlsplit(local).scheme not in {"http", "https"} or not urlsplit(local).netloc:
            raise UsageError(f"{text!r} is not PUBLIC=LOCAL[,CA_FILE] with an https PUBLIC and an http or https LOCAL", where="issuer mapping", todo=example)
        path = Path(ca_file) if ca_file else None
        if path is not None and not path.is_file():
            raise UsageError(f"there is no CA file {ca_file}", where="issuer mapping", todo="give the path of a PEM file")
        return cls(public=public, local=local, ca_file=path)

    def rewrite(self, url: str) -> str | None:
        """The local URL, or None when this mapping does not speak of `url`."""
        pattern = "".join("[a-z0-9.-]+" if char == "*" else re.escape(char) for char in self.public)
        match = re.match(pattern, url)
        if match is None:
            return None
        rest = url[match.end() :]
        # A prefix ends where a segment does, or …/id/AB would map …/id/ABC too.
        if rest and not self.public.endswith("/") and not rest.startswith("/"):
            return None
        return self.local + rest


def mappings_from_environment(environ: Mapping[str, str]) -> tuple[IssuerMapping, ...]:
    """The mappings of TOWPATH_ISSUER_MAP, separated by white space."""
    return tuple(IssuerMapping.parse(text) for text in environ.get(ENVIRONMENT, "").split())


class Fetcher:
    """Gets JSON objects. Thread-safe. Raises IssuerUnreachable for anything else than one, within the bounds."""

    def __init__(self, mappings: Sequence[IssuerMapping] = (), *, timeout: float = TIMEOUT, limit: int = LIMIT) -> None:
        self._mappings = tuple(mappings)
        self._timeout = timeout
        self._limit = limit

    def get_json(self, url: str) -> dict[str, Any]:
        target, ca_file = url, None
        for mapping in self._mappings:
            if (local := mapping.rewrite(url)) is not None:
                target, ca_file = local, mapping.ca_file
                break
        else:
            if not url.startswith("https://"):
                raise _unreachable(url, "only https is fetched")
        text = self._get(url, target, ca_file)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise _unreachable(url, "the answer is not JSON") from None
        if not isinstance(value, dict):
            raise _unreachable(url, "the answer is not a JSON object")
        return cast("dict[str, Any]", value)

    def _get(self, url: str, target: str, ca_file: Path | None) -> bytes:
        import httpx2

        deadline = time.monotonic() + self._timeout
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca_file)) if ca_file else ssl.create_default_context() if target.startswith("https:") else True
        out = bytearray()
        try:
            with (
                httpx2.Client(verify=verify, trust_env=False, follow_redirects=False, timeout=self._timeout) as client,
                client.stream("GET", target, headers={"Accept": "application/json", "Accept-Encoding": "identity"}) as answer,
            ):
                if answer.status_code != 200:
                    raise _unreachable(url, f"it answered {answer.status_code}" + (", and redirects are not followed" if answer.is_redirect else ""))
                for chunk in answer.iter_raw():
                    out += chunk
                    if len(out) > self._limit:
                        raise _unreachable(url, f"the answer is larger than {self._limit} bytes")
                    # The client's own limit is per read; an issuer that sends a byte at a time would never meet it.
                    if time.monotonic() > deadline:
                        raise _unreachable(url, f"the answer took longer than {self._timeout:g} s")
        except httpx2.TimeoutException:
            raise _unreachable(url, f"no answer within {self._timeout:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError) as error:
            raise _unreachable(url, str(error) or type(error).__name__) from None
        return bytes(out)


def _unreachable(url: str, reason: str) -> IssuerUnreachable:
    return IssuerUnreachable(f"cannot read the issuer's document: {reason}", where=url, todo=f"make it readable without credentials: curl -sS {url}")
