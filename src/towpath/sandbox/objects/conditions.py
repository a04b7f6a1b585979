"""Preconditions and ranges.

Source: "Add preconditions to S3 operations with conditional requests" and "How to perform conditional deletes" (S3 User Guide),
GetObject (S3 API Reference), RFC 9110 sections 13 and 14.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from towpath.sandbox.errors import AwsError, not_implemented

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def failed(condition: str) -> AwsError:
    return AwsError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        412,
        details={"Condition": condition},
    )


def check_write(headers: Mapping[str, str], current: str | None, key: str) -> None:
    """`current` is the ETag of the object there is now. PutObject, CopyObject, CompleteMultipartUpload."""
    unless, only = headers.get("if-none-match"), headers.get("if-match")
    if unless is not None:
        if unless != "*":
            raise not_implemented("a conditional write on another value than *", {"Header": "If-None-Match"})
        if current is not None:
            raise failed("If-None-Match")
    if only is not None:
        if current is None:
            raise missing_key(key)
        if not _matches(only, current):
            raise failed("If-Match")


def check_delete(wanted: str | None, current: str | None, key: str) -> None:
    if wanted is None:
        return
    if current is None:
        raise failed("If-Match") if wanted.strip() == "*" else missing_key(key)
    if not _matches(wanted, current):
        raise failed("If-Match")


def check_read(headers: Mapping[str, str], etag: str, modified: float, *, prefix: str = "") -> bool:
    """Whether the answer is 304. With `prefix` the headers of a copy's source, where what would be 304 is refused too."""
    only, unless = headers.get(f"{prefix}if-match"), headers.get(f"{prefix}if-none-match")
    since, until = _time(headers.get(f"{prefix}if-modified-since")), _time(headers.get(f"{prefix}if-unmodified-since"))
    if only is not None:
        if not _matches(only, etag):
            raise failed(f"{prefix}If-Match")
    elif until is not None and int(modified) > until:
        raise failed(f"{prefix}If-Unmodified-Since")
    same = _matches(unless, etag) if unless is not None else since is not None and int(modified) <= since
    if same and prefix:
        raise failed(f"{prefix}If-None-Match" if unless is not None else f"{prefix}If-Modified-Since")
    return same


def missing_key(key: str) -> AwsError:
    return AwsError("NoSuchKey", "The specified key does not exist.", 404, details={"Key": key})


def byte_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Start and length, or None for the whole: S3 ignores what is no single range. Raises AwsError InvalidRange."""
    match = _RANGE.fullmatch(text.strip()) if text else None
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        start, end = max(0, size - int(last)), size - 1
        bad = int(last) == 0 or size == 0
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
        bad = start >= size
    if bad:
        raise AwsError(
            "InvalidRange",
            "The requested range is not satisfiable",
            416,
            details={"RangeRequested": str(text), "ActualObjectSize": str(size)},
            headers=[("Content-Range", f"bytes */{size}")],
        )
    return start, end - start + 1


def _matches(wanted: str, etag: str) -> bool:
    return wanted.strip() == "*" or etag in {item.strip().removeprefix("W/").strip('"') for item in wanted.split(",")}


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def http_date(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
