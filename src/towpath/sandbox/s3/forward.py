"""The request as the emulator gets it, and as it is judged: one reading of its headers and parameters for both."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from towpath.iam.context import Value
from towpath.sandbox.authenticate import Caller
from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import rules
from towpath.sandbox.s3.address import Address
from towpath.sandbox.s3.operations import S3Operation, query_of
from towpath.sandbox.s3_operations import copy_source
from towpath.sandbox.wire import Request

# Query parameters that are the signature's own.
_SIGNING: Final = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-signedheaders",
        "x-amz-signature",
        "x-amz-security-token",
        "x-amz-content-sha256",
    }
)
# The signature's; and what was true of the body as it was sent, before it was decoded.
_NOT_FORWARDED: Final = frozenset(
    {"authorization", "x-amz-security-token", "x-amz-date", "host", "content-length", "transfer-encoding"}
)


def hoisted(request: Request, caller: Caller) -> Request:
    """SDKs move x-amz-* headers into a presigned URL's query, and S3 reads them there; here they become headers again."""
    if caller.method != "REST-QUERY-STRING":
        return request
    headers = dict(request.headers)
    for name, value in request.arguments.items():
        folded = name.lower()
        if not folded.startswith("x-amz-") or folded in _SIGNING:
            continue
        rules.check_header(folded)
        if headers.setdefault(folded, value) != value:
            raise AwsError("InvalidArgument", f"{folded[:60]} is given in the query string and as a header.", 400)
    return replace(request, headers=headers)


def inner(request: Request, operation: S3Operation, address: Address) -> Request:
    """In path style, with the operation's own parameters and nothing of the signature."""
    headers = {name: value for name, value in request.headers.items() if name not in _NOT_FORWARDED}
    if "x-amz-copy-source" in headers:
        source = copy_source(request)
        version = f"?versionId={quote(source.version, safe='')}" if source.version else ""
        headers["x-amz-copy-source"] = f"{source.bucket}/{quote(source.key, safe='/-_.~')}{version}"
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" if value else quote(name, safe="")
        for name, value in query_of(request, operation).items()
    )
    return replace(request, path=address.path, query=query, headers={**headers, "host": "localhost"})


def signature_keys(request: Request, caller: Caller) -> dict[str, Value]:
    """Condition keys of how a request was signed, and of the connection it came by."""
    keys: dict[str, Value] = {}
    if caller.method:
        keys["s3:authType"] = caller.method
        keys["s3:signatureversion"] = "AWS4-HMAC-SHA256"
        if caller.method != "POST":
            keys["s3:x-amz-content-sha256"] = request.headers.get("x-amz-content-sha256", caller.payload)
    if caller.method == "REST-QUERY-STRING" and caller.signed_at is not None:
        keys["s3:signatureAge"] = int((datetime.now(UTC) - caller.signed_at).total_seconds() * 1000)
    if request.secure:
        keys["s3:TlsVersion"] = "1.2"  # at least: the listener takes none below
    return keys
