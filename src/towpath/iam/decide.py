"""May this request be made? The decision IAM makes, with its reasons.

Source: "Policy evaluation logic", "Determining whether a request is allowed or denied within an account" and "Cross-account
policy evaluation logic", IAM User Guide. In short: a matching Deny anywhere denies; then boundary and session policy each have
to allow; then an identity policy or (in the same account) a resource policy has to allow; across accounts both have to. A role's
trust policy decides alone.

What is evaluated is kept, what explains it is worked out only when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from towpath.iam import explain
from towpath.iam.evaluate import matches
from towpath.iam.policy import PolicyDocument, PolicyKind, Statement
from towpath.iam.request import Caller, Request

__all__ = [
    "Caller",
    "Decision",
    "ElementResult",
    "NamedPolicy",
    "Outcome",
    "PolicySet",
    "Request",
    "StatementResult",
    "decide",
]


class Outcome(StrEnum):
    """IAM's own names, as SimulatePrincipalPolicy answers them."""

    ALLOWED = "allowed"
    IMPLICIT_DENY = "implicitDeny"
    EXPLICIT_DENY = "explicitDeny"


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedPolicy:
    """A document and the name people know it by."""

    name: str
    document: PolicyDocument


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicySet:
    """Every policy that speaks of a request. None: there is no such policy; a boundary that allows nothing is not None.

    Session policies (one inline, ten managed) allow what any of them allows. Of SCPs and RCPs each level (root, OU, …, account) has
    to allow, by any policy attached to it; () is an account outside an organization.
    """

    identity: tuple[NamedPolicy, ...] = ()
    resource: NamedPolicy | None = None
    boundary: NamedPolicy | None = None
    session: tuple[NamedPolicy, ...] | None = None
    scps: tuple[tuple[NamedPolicy, ...], ...] = ()
    rcps: tuple[tuple[NamedPolicy, ...], ...] = ()
    endpoint: NamedPolicy | None = None
    resource_account: str | None = None  # twelve digits; None: the caller's own

    def __iter__(self) -> Iterator[NamedPolicy]:
        yield from self.identity
        for policy in (self.resource, self.boundary, self.endpoint):
            if policy is not None:
                yield policy
        yield from self.session or ()
        for level in (*self.scps, *self.rcps):
            yield from level


@dataclass(frozen=True, kw_only=True, slots=True)
class ElementResult:
    """One element of a statement: Action, Resource, Principal, or one condition."""

    element: str
    matched: bool
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StatementResult:
    """One statement against one request. It matched when every element did."""

    policy: str
    index: int
    sid: str
    effect: str
    matched: bool
    elements: tuple[ElementResult, ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome; `reason` is the shortest sentence for it, `statements` everything that was looked at."""

    outcome: Outcome
    request: Request
    policies: PolicySet
    decided_by: str  # which kind of policy: identity, resource, trust, boundary, session
    statement: tuple[NamedPolicy, Statement] | None = None  # the one that allowed or denied

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOWED

    @cached_property
    def statements(self) -> tuple[StatementResult, ...]:
        return tuple(
            StatementResult(
                policy=policy.name,
                index=statement.index,
                sid=statement.sid,
                effect=statement.effect,
                matched=matches(statement, self.request),
                elements=tuple(
                    ElementResult(element=name, matched=ok, why=why)
                    for name, ok, why in explain.elements(statement, self.request)
                ),
                why=explain.why(statement, self.request),
            )
            for policy in self.policies
            for statement in policy.document.statements
        )

    @cached_property
    def reason(self) -> str:
        return explain.reason(self)


def decide(request: Request, policies: PolicySet) -> Decision:
    """IAM's decision on one request. Pure; nothing is remembered between two calls."""

    def made(outcome: Outcome, by: str, found: tuple[NamedPolicy, Statement] | None = None) -> Decision:
        return Decision(outcome=outcome, request=request, policies=policies, decided_by=by, statement=found)

    resource = policies.resource
    trust = resource is not None and resource.document.kind is PolicyKind.TRUST
    groups: tuple[tuple[str, tuple[NamedPolicy, ...]], ...] = (
        ("identity", policies.identity),
        ("trust" if trust else "resource", (resource,) if resource is not None else ()),
        ("boundary", (policies.boundary,) if policies.boundary is not None else ()),
        ("session", policies.session or ()),
    )
    allowing: dict[str, tuple[NamedPolicy, Statement]] = {}
    for group, members in groups:
        for policy in members:
            for statement in policy.document.statements:
                if statement.effect == "Allow" and group in allowing:
                    continue
                if matches(statement, request):
                    if statement.effect == "Deny":
                        return made(Outcome.EXPLICIT_DENY, group, (policy, statement))
                    allowing[group] = (policy, statement)
    if trust:
        return made(Outcome.ALLOWED if "trust" in allowing else Outcome.IMPLICIT_DENY, "trust", allowing.get("trust"))
    for group, policy in (("session", policies.session), ("boundary", policies.boundary)):
        if policy is not None and group not in allowing:
            return made(Outcome.IMPLICIT_DENY, group)
    same_account = policies.resource_account is None or policies.resource_account == request.caller.account
    if same_account:
        found = allowing.get("identity") or allowing.get("resource")
        by = "identity" if "identity" in allowing or not found else "resource"
        return made(Outcome.ALLOWED if found else Outcome.IMPLICIT_DENY, by, found)
    for group in ("identity", "resource"):
        if group not in allowing:
            return made(Outcome.IMPLICIT_DENY, group)
    return made(Outcome.ALLOWED, "identity", allowing["identity"])
