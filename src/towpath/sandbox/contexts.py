"""Condition keys that a request has whoever judges it: the global ones, and those a session brings along.

Source: "AWS global condition context keys", IAM User Guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from towpath.iam.context import Value
from towpath.sandbox.wire import Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How a request came, and to which region it was addressed ("" where nothing says it)."""

    region: str = ""
    remote: str = "127.0.0.1"
    secure: bool = False
    user_agent: str | None = None
    referer: str | None = None

    def keys(self) -> dict[str, Value]:
        """Of this moment."""
        now = datetime.now(UTC)
        found: dict[str, Value] = {
            "aws:CurrentTime": now,
            "aws:EpochTime": int(now.timestamp()),
            "aws:SecureTransport": self.secure,
            "aws:SourceIp": self.remote,
            "aws:ViaAWSService": False,
        }
        if self.region:
            found["aws:RequestedRegion"] = self.region
        if self.user_agent is not None:
            found["aws:UserAgent"] = self.user_agent
        if self.referer is not None:
            found["aws:Referer"] = self.referer
        return found


def way(request: Request, region: str) -> Way:
    return Way(
        region=region,
        remote=request.remote,
        secure=request.secure,
        user_agent=request.headers.get("user-agent"),
        referer=request.headers.get("referer"),
    )


def of_session(*, tags: Mapping[str, str], source_identity: str | None, issued_at: datetime) -> dict[str, Value]:
    """What every request made with a session's credentials has."""
    found: dict[str, Value] = {
        "aws:TokenIssueTime": issued_at,
        "aws:MultiFactorAuthPresent": False,  # there with temporary credentials only
        **tag_keys("aws:PrincipalTag", tags),
    }
    if source_identity is not None:
        found["aws:SourceIdentity"] = source_identity
    return found


def tag_keys(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    """`aws:ResourceTag/KEY` and its like."""
    return {f"{prefix}/{name}": value for name, value in tags.items()}
