"""Small words that every link's findings are made of."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from towpath.chain.finding import Finding, Fix, LinkName, LinkState, Severity
from towpath.chain.observed import Chain, Wanted


def flags(wanted: Wanted) -> str:
    """The flags that name this identity to any `towpath identity` command."""
    issuer = f"--issuer {wanted.issuer_url} " if wanted.issuer_url else ""
    cluster = f"--eks {wanted.cluster}" if wanted.eks else f"{issuer}--cluster {wanted.cluster}"
    return f"{cluster} --region {wanted.region} --namespace {wanted.namespace} --service-account {wanted.service_account} --role {wanted.role_name}"


def apply(wanted: Wanted) -> str:
    return f"towpath identity apply {flags(wanted)}"


def document(value: Mapping[str, Any]) -> str:
    """A policy document as one shell word."""
    return shlex.quote(json.dumps(value, separators=(",", ":")))


def error(
    code: str, link: LinkName, message: str, *, evidence: str, command: str, towpath: str = "", row: int | None = None
) -> Finding:
    return Finding(
        code=code,
        link=link,
        severity=Severity.ERROR,
        message=message,
        evidence=evidence,
        fix=Fix(command=command, towpath=towpath),
        row=row,
    )


def warning(
    code: str, link: LinkName, message: str, *, evidence: str, command: str, towpath: str = "", row: int | None = None
) -> Finding:
    return Finding(
        code=code,
        link=link,
        severity=Severity.WARNING,
        message=message,
        evidence=evidence,
        fix=Fix(command=command, towpath=towpath),
        row=row,
    )


def state(link: LinkName, evidence: str, findings: Sequence[Finding] = ()) -> LinkState:
    """A link that was looked at: broken when a finding is an error."""
    return LinkState(
        link=link,
        ok=not any(f.severity is Severity.ERROR for f in findings),
        evidence=evidence,
        findings=tuple(findings),
    )


def unseen(chain: Chain, link: LinkName, part: str, otherwise: str) -> LinkState:
    """A link nobody could look at: because of a missing permission, or of another link."""
    return LinkState(link=link, ok=None, evidence=chain.unreadable.get(part, otherwise))
