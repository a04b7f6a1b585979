"""May this request be made? The decision IAM makes, with its reasons.

Sources, IAM User Guide: "How AWS enforcement code logic evaluates requests to allow or deny access", "Policy evaluation for requests
within a single account", "Cross-account policy evaluation logic"; docs/decision.md has them rule by rule. In short:

- A matching Deny in any policy denies.
- Of RCPs and SCPs each level has to allow, and so has an endpoint's policy where there is one.
- In one account an identity policy or the resource's policy has to allow; across accounts both. A role's trust policy and a KMS key's
  policy have to allow even in one account; where they name only the account they delegate to it, and an identity policy has to allow too.
- Boundary and session policies have to allow as well, except what the resource's policy grants, in one account, to the user or the
  session itself or to everybody. What it grants to a role is limited by both.
- Services, tokens and anonymous callers have no policies of their own: the resource's policy decides.
- An account's root needs no identity policy; SCPs and denies of the resource's policy limit it.

What is evaluated is kept, what explains it is worked out only when somebody asks. No decision is remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from towpath.iam import explain
from towpath.iam.context import Context
from towpath.iam.evaluate import how_named, matches
from towpath.iam.principals import Named
from towpath.iam.request import Caller, Request
from towpath.iam.statement import PolicyDocument, PolicyKind, Statement

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
    to allow, by any policy attached to it; () is an account outside an organization. SCPs limit neither the management account nor
    service-linked roles, RCPs no resource of the management account: whoever makes the set leaves them out there ("Service control
    policies (SCPs)", "Resource control policies (RCPs)", Organizations User Guide).
    """

    identity: tuple[NamedPolicy, ...] = ()
    resource: NamedPolicy | None = None
    boundary: NamedPolicy | None = None
    session: tuple[NamedPolicy, ...] | None = None
    scps: tuple[tuple[NamedPolicy, ...], ...] = ()
    rcps: tuple[tuple[NamedPolicy, ...], ...] = ()
    endpoint: NamedPolicy | None = None
    resource_account: str | None = None  # twelve digits; None: the caller's own

    def of(self, kind: PolicyKind) -> tuple[NamedPolicy, ...]:
        """The policies in the place of that kind, whatever kind their documents were parsed as."""
        if kind is PolicyKind.IDENTITY:
            return self.identity
        if kind is PolicyKind.SESSION:
            return self.session or ()
        if kind in {PolicyKind.SCP, PolicyKind.RCP}:
            levels = self.scps if kind is PolicyKind.SCP else self.rcps
            return tuple(policy for level in levels for policy in level)
        found = {PolicyKind.BOUNDARY: self.boundary, PolicyKind.ENDPOINT: self.endpoint}.get(kind, self.resource)
        return (found,) if found is not None else ()

    def __iter__(self) -> Iterator[NamedPolicy]:
        yield from self.identity
        for policy in (self.resource, self.boundary, self.endpoint):
            if policy is not None:
                yield policy
        yield from self.session or ()
        for levels in (self.scps, self.rcps):
            for level in levels:
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


Found = tuple[NamedPolicy, Statement]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome; `reason` is the shortest sentence for it, `statements` everything that was looked at.

    `decided_by`: the kind of policy that denied, that had to allow and did not, or that allowed.
    """

    outcome: Outcome
    request: Request
    policies: PolicySet
    decided_by: PolicyKind
    statement: Found | None = None  # the one that allowed or denied

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOWED

    @cached_property
    def statements(self) -> tuple[StatementResult, ...]:
        bounded = self.policies.boundary is not None
        return tuple(
            StatementResult(
                policy=policy.name,
                index=statement.index,
                sid=statement.sid,
                effect=statement.effect,
                matched=matches(statement, self.request, bounded=bounded),
                elements=tuple(
                    ElementResult(element=name, matched=ok, why=why)
                    for name, ok, why in explain.elements(statement, self.request, bounded=bounded)
                ),
                why=explain.why(statement, self.request, bounded=bounded),
            )
            for policy in self.policies
            for statement in policy.document.statements
        )

    @property
    def reason(self) -> str:
        return explain.reason(self)


def decide(request: Request, policies: PolicySet) -> Decision:
    """IAM's decision on one request. Pure; nothing is remembered between two calls."""

    def denied(kind: PolicyKind, found: Found | None = None) -> Decision:
        outcome = Outcome.IMPLICIT_DENY if found is None else Outcome.EXPLICIT_DENY
        return Decision(outcome=outcome, request=request, policies=policies, decided_by=kind, statement=found)

    def allowed(kind: PolicyKind, found: Found | None) -> Decision:
        return Decision(outcome=Outcome.ALLOWED, request=request, policies=policies, decided_by=kind, statement=found)

    caller = request.caller
    action, resource, context = request.action.lower(), request.resource, request.context

    # 1. What denies. Each place is gone through once and its first Allow kept for what follows.
    blocked: PolicyKind | None = None  # the first of RCPs, SCPs and endpoint policy that does not allow
    for kind, levels in ((PolicyKind.RCP, policies.rcps), (PolicyKind.SCP, policies.scps)):
        for level in levels:
            deny, allow, _ = _weigh_named(level, request, action, bounded=False)
            if deny is not None:
                return denied(kind, deny)
            if allow is None and blocked is None:
                blocked = kind
    if policies.endpoint is not None:
        deny, allow, _ = _weigh_named((policies.endpoint,), request, action, bounded=policies.boundary is not None)
        if deny is not None:
            return denied(PolicyKind.ENDPOINT, deny)
        if allow is None and blocked is None:
            blocked = PolicyKind.ENDPOINT
    granted: Found | None = None
    named = Named.NOT
    by_resource = PolicyKind.RESOURCE
    if policies.resource is not None:
        if policies.resource.document.kind is PolicyKind.TRUST:
            by_resource = PolicyKind.TRUST
        deny, granted, named = _weigh_named(
            (policies.resource,), request, action, bounded=policies.boundary is not None
        )
        if deny is not None:
            return denied(by_resource, deny)
    deny, own = _weigh(policies.identity, action, resource, context)
    if deny is not None:
        return denied(PolicyKind.IDENTITY, deny)
    limited: PolicyKind | None = None  # the first of boundary and session policies that does not allow
    if policies.boundary is not None:
        deny, allow = _weigh((policies.boundary,), action, resource, context)
        if deny is not None:
            return denied(PolicyKind.BOUNDARY, deny)
        if allow is None:
            limited = PolicyKind.BOUNDARY
    if policies.session is not None:
        deny, allow = _weigh(policies.session, action, resource, context)
        if deny is not None:
            return denied(PolicyKind.SESSION, deny)
        if allow is None and limited is None:
            limited = PolicyKind.SESSION

    # 2. What has to allow.
    if blocked is not None:
        return denied(blocked)
    if caller.service is not None or caller.federated is not None or (caller.is_anonymous and not policies.identity):
        return allowed(by_resource, granted) if granted is not None else denied(by_resource)
    has_own = own is not None or caller.is_root
    same_account = policies.resource_account is None or policies.resource_account == caller.account
    # "IAM role trust policies and KMS key policies are exceptions": in one account too they have to allow explicitly.
    must_grant = (
        not same_account
        or by_resource is PolicyKind.TRUST
        or (policies.resource is not None and action.startswith("kms:"))
    )
    by_itself = same_account and named >= Named.BEHIND  # what the resource's policy grants without an identity policy
    if by_itself and (named is Named.DIRECTLY or limited is None):
        if has_own and limited is None and not must_grant:
            return allowed(PolicyKind.IDENTITY, own)
        return allowed(by_resource, granted)
    if must_grant and granted is None and by_resource is PolicyKind.TRUST:
        return denied(by_resource)
    if not has_own and not by_itself:
        return denied(PolicyKind.IDENTITY)
    if must_grant and granted is None:
        return denied(by_resource)
    if limited is not None:
        return denied(limited)
    return allowed(by_resource, granted) if by_resource is PolicyKind.TRUST else allowed(PolicyKind.IDENTITY, own)


def _weigh(
    group: tuple[NamedPolicy, ...], action: str, resource: str, context: Context
) -> tuple[Found | None, Found | None]:
    """The first Deny that speaks of the request (then the second is of no interest), and the first Allow."""
    allow: Found | None = None
    for policy in group:
        denies, allows = policy.document.speaking(action)
        for statement in denies:
            if statement.unconditional or statement.applies(resource, context):
                return (policy, statement), None
        if allow is None:
            for statement in allows:
                if statement.unconditional or statement.applies(resource, context):
                    allow = (policy, statement)
                    break
    return None, allow


def _weigh_named(
    group: tuple[NamedPolicy, ...], request: Request, action: str, *, bounded: bool
) -> tuple[Found | None, Found | None, Named]:
    """As `_weigh`, for policies that name principals: the Allow is the one that names the caller most directly."""
    best: Found | None = None
    most = Named.NOT
    for policy in group:
        denies, allows = policy.document.speaking(action)
        for statement in denies:
            named = how_named(statement, request.caller, bounded=bounded)
            if named is not Named.NOT and statement.applies(request.resource, request.context):
                return (policy, statement), None, Named.NOT
        for statement in allows:
            named = how_named(statement, request.caller, bounded=bounded)
            if named > most and statement.applies(request.resource, request.context):
                best, most = (policy, statement), named
    return None, best, most
