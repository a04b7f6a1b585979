"""Condition keys that a request has whoever judges it: the global ones, and those a session brings along.

Source: "AWS global condition context keys", IAM User Guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from towpath.iam.context import Context


def of_request(keys: Mapping[str, Any], *, region: str, remote: str, secure: bool) -> Context:
    """`keys` and what the wire says; a key that is None is not there."""
    now = datetime.now(UTC)
    found = {name: value for name, value in keys.items() if value is not None}
    found |= {
        "aws:CurrentTime": now,
        "aws:EpochTime": int(now.timestamp()),
        "aws:SecureTransport": secure,
        "aws:SourceIp": remote,
    }
    if region:
        found["aws:RequestedRegion"] = region
    return Context(found)


def of_session(
    *, tags: Mapping[str, str], source_identity: str | None, issued_at: datetime
) -> dict[str, str | bool | datetime]:
    """What every request made with a session's credentials has."""
    found: dict[str, str | bool | datetime] = {
        "aws:TokenIssueTime": issued_at,
        "aws:MultiFactorAuthPresent": False,  # there with temporary credentials only
        **_principal_tags(tags),
    }
    if source_identity is not None:
        found["aws:SourceIdentity"] = source_identity
    return found


def tags(prefix: str, found: Mapping[str, str]) -> dict[str, str]:
    """`aws:ResourceTag/KEY` and its like."""
    return {f"{prefix}/{name}": value for name, value in found.items()}


def _principal_tags(found: Mapping[str, str]) -> dict[str, str]:
    return tags("aws:PrincipalTag", found)
