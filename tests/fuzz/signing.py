"""Requests signed as AWS's documentation says it, independently of the gate's own code.

Source: "Create a signed AWS API request"; "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
import posixpath
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from towpath.sandbox.principals import Key
from towpath.sandbox.wire import Body, Request

REGION = "eu-west-1"
ALGORITHM = "AWS4-HMAC-SHA256"


def plain(
    method: str, path: str, *, query: str = "", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Request:
    """A request as the server would hand it over, unsigned."""
    return Request(
        method=method, path=path, query=query, headers={"host": "localhost", **(headers or {})}, body=Body([body])
    )


def signed(request: Request, key: Key, *, service: str = "s3", payload: str | None = None) -> Request:
    """With an Authorization header over every header it has. `payload` stands for the body's hash when it is not that."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    digest = payload or request.body.sha256
    headers = {**request.headers, "x-amz-date": stamp}
    if service == "s3":
        headers["x-amz-content-sha256"] = digest
    if key.session_token:
        headers["x-amz-security-token"] = key.session_token
    names = sorted(headers)
    scope = f"{stamp[:8]}/{REGION}/{service}/aws4_request"
    canonical = _canonical(request, service, request.query, {name: headers[name] for name in names}, digest)
    seal = _signature(key.secret, stamp, scope, canonical)
    headers["authorization"] = (
        f"{ALGORITHM} Credential={key.access_key}/{scope}, SignedHeaders={';'.join(names)}, Signature={seal}"
    )
    return replace(request, headers=headers)


def presigned(request: Request, key: Key, *, seconds: int = 300) -> Request:
    """An S3 request whose query string carries the signature."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    added = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{key.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": ";".join(sorted(request.headers)),
    }
    query = "&".join(
        [*([request.query] if request.query else []), *(f"{k}={quote(v, safe='')}" for k, v in added.items())]
    )
    headers = {name: request.headers[name] for name in sorted(request.headers)}
    seal = _signature(key.secret, stamp, scope, _canonical(request, "s3", query, headers, "UNSIGNED-PAYLOAD"))
    return replace(request, query=f"{query}&X-Amz-Signature={seal}")


def meaning(request: Request) -> tuple[object, ...]:
    """What a signature covers, however it is spelt: two requests with one meaning may carry one signature."""
    pairs = sorted(
        (unquote(name, errors="surrogateescape"), unquote(value, errors="surrogateescape"))
        for name, _, value in (part.partition("=") for part in request.query.split("&"))
        if name
    )
    folded = {name: " ".join(value.split()) for name, value in request.headers.items()}
    path = request.path or "/"
    if "/s3/" not in request.headers.get("authorization", "/s3/"):  # every other service signs its path normalised
        path = posixpath.normpath(re.sub("/+", "/", path)) + ("/" if path.endswith("/") and path.strip("/") else "")
    return request.method, path, pairs, folded, request.body.sha256


def signing_key(secret: str, scope: str) -> bytes:
    date, region, service, last = scope.split("/")
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, last):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical(request: Request, service: str, query: str, headers: Mapping[str, str], digest: str) -> str:
    path = request.path if service == "s3" else quote(request.path, safe="/-_.~")
    pairs = sorted(
        (quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~"))
        for name, _, value in (part.partition("=") for part in query.split("&"))
        if query
    )
    return "\n".join(
        [
            request.method,
            path,
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(value.split())}" for name, value in headers.items()),
            "",
            ";".join(headers),
            digest,
        ]
    )


def _signature(secret: str, stamp: str, scope: str, canonical: str) -> str:
    text = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.new(signing_key(secret, scope), text.encode(), hashlib.sha256).hexdigest()


def chunks(request: Request, key: Key, *sizes: int) -> bytes:
    """The aws-chunked body of a request signed with STREAMING-AWS4-HMAC-SHA256-PAYLOAD, whose own body is the content.

    Source: "Signature calculations for the Authorization header: transferring payload in multiple chunks", S3 API reference.
    """
    content = request.body.read()
    credential, _, previous = request.headers["authorization"].partition("Signature=")
    scope = credential.partition("Credential=")[2].partition("/")[2].partition(",")[0]
    secret = signing_key(key.secret, scope)
    empty = hashlib.sha256().hexdigest()
    out = b""
    at = 0
    for size in (*sizes, 0):
        piece = content[at : at + size]
        at += size
        digest = hashlib.sha256(piece).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", request.headers["x-amz-date"], scope, previous, empty, digest])
        previous = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        out += f"{len(piece):x};chunk-signature={previous}\r\n".encode() + piece + b"\r\n"
    return out
