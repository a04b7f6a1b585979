"""Which bucket and key a request means: path style, virtual-hosted, and the names under which AWS itself is reached.

Source: "Virtual hosting of buckets", "Making requests to Amazon S3 over IPv6" (dual-stack names), S3 User Guide.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from towpath.sandbox.errors import AwsError, not_implemented
from towpath.sandbox.wire import Request

# "General purpose bucket naming rules", S3 User Guide.
BUCKET_NAME: Final = re.compile(r"(?!\d{1,3}(?:\.\d{1,3}){3}$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
RESERVED: Final = re.compile(r"(?:xn--|sthree-|amzn-s3-demo-).*|.*(?:-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)")
LONGEST_KEY: Final = 1024  # bytes of UTF-8
_AWS_SUFFIX: Final = re.compile(r"\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$")
_REGION: Final = r"[a-z]{2}(?:-[a-z]+)+-\d"
# s3.<region>, s3-<region>, s3.dualstack.<region>, the global and the accelerated names, each with or without a bucket before it.
_AWS_HOST: Final = re.compile(
    rf"(?:(?P<bucket>.+)\.)?(?:s3(?:-fips)?(?:[.-]external-1|(?:\.dualstack)?[.-]{_REGION})?|s3-accelerate(?:\.dualstack)?)"
    r"\.(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_LOCAL: Final = re.compile(rf"(?:(?P<bucket>.+)\.)?s3(?:\.dualstack)?(?:\.{_REGION})?")


@dataclass(frozen=True, kw_only=True)
class Address:
    """`bucket` and `key` decoded, "" where there is none; `path` in path style, encoded."""

    bucket: str
    key: str
    path: str


def locate(request: Request, base_hosts: Collection[str]) -> Address:
    """Raises AwsError for a name, a path or a key S3 would not take."""
    if "x-amz-account-id" in request.headers:
        raise not_implemented("S3 Control")
    hosted = _hosted_bucket(request.host, base_hosts)
    path = request.path if request.path.startswith("/") else "/" + request.path
    if hosted is not None:
        path = f"/{hosted}{path}"
    bucket, slash, raw_key = path[1:].partition("/")
    bucket = _decoded(bucket)
    key = _decoded(raw_key)
    # A key in no bucket (GET //a/b) would be judged as an object and answered as the list of buckets.
    if (bucket or key) and not BUCKET_NAME.fullmatch(bucket):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", 400)
    if len(key.encode("utf-8", "surrogateescape")) > LONGEST_KEY:
        raise AwsError("KeyTooLongError", "Your key is too long", 400)
    return Address(bucket=bucket, key=key, path=f"/{bucket}{slash}{quote(key, safe='/-_.~')}")


def _hosted_bucket(host: str, base_hosts: Collection[str]) -> str | None:
    """What the Host header has before the endpoint's own name; None in path style."""
    if host in base_hosts:
        return None
    if _AWS_SUFFIX.search(host):
        match = _AWS_HOST.fullmatch(host)
        if match is None:
            # s3-control, s3-website, access points and others: other rules, other permissions.
            raise not_implemented(f"{host} is no S3 endpoint this sandbox knows")
        return match["bucket"]
    base = max(
        (each for each in base_hosts if host.endswith("." + each) and not _is_address(each)), key=len, default=None
    )
    if base is None:
        return None
    rest = host[: -len(base) - 1]
    match = _LOCAL.fullmatch(rest)
    return match["bucket"] if match else rest


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _decoded(text: str) -> str:
    """Percent-decoded. Raises AwsError InvalidURI for what is not UTF-8 once decoded."""
    if text.isascii() and "%" not in text:
        return text
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise AwsError("InvalidURI", "Couldn't parse the specified URI.", 400)
    try:
        return unquote_to_bytes(text.encode("latin-1", "replace")).decode("utf-8")
    except UnicodeDecodeError:
        raise AwsError("InvalidURI", "Couldn't parse the specified URI.", 400) from None
