"""What is wrong with an identity chain, in the words that job, doctor and (later) the control plane share."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class LinkName(StrEnum):
    """The nine links, in the order in which an exchange needs them."""

    ISSUER = "issuer"
    PROVIDER = "provider"
    ROLE = "role"
    TRUST = "trust"
    PERMISSIONS = "permissions"
    SERVICE_ACCOUNT = "service account"
    INJECTION = "injection"
    EXCHANGE = "exchange"
    ACCESS = "access"


class Severity(StrEnum):
    """`error`: a job under this identity fails. `warning`: it works, and more or less than it should."""

    ERROR = "error"
    WARNING = "warning"


class Value(BaseModel):
    """Base of everything in a chain: frozen, keyword-only, serialisable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Fix(Value):
    """How to repair one finding: the plain command, and the towpath call that does the same ("" when there is none)."""

    command: str
    towpath: str = ""


class Finding(Value):
    """One broken or doubtful thing in a chain.

    `code` is stable and dotted (`trust.subject-mismatch`); `message` says what is wrong in one sentence; `evidence` is
    what was seen, verbatim where it can be; `row` is the failure's number in docs/failures.md where it has one.
    """

    code: str
    link: LinkName
    severity: Severity
    message: str
    evidence: str
    fix: Fix
    row: int | None = None


class LinkState(Value):
    """One link after looking: `ok` is None when it could not be looked at (`evidence` says why)."""

    link: LinkName
    ok: bool | None
    evidence: str
    findings: tuple[Finding, ...] = ()
