"""May this principal do this? Gathers the policies that speak of it and asks `iam.decide`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from towpath.iam.context import Context, Value
from towpath.iam.decide import Caller, Decision, NamedPolicy, Outcome, PolicySet, Request, decide
from towpath.iam.policy import PolicyKind, parse_policy
from towpath.sandbox import contexts
from towpath.sandbox.contexts import Way
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.principals import ANONYMOUS, Principal
from towpath.sandbox.s3_operations import Need

# What no identity policy limits ("AWS account root user", IAM User Guide), so that a session or bucket policy still can.
ROOT: Final = NamedPolicy(
    name="the account's root",
    document=parse_policy(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]},
        kind=PolicyKind.IDENTITY,
    ),
)
# The bucket owner's root can always mend a bucket policy that locks everybody out ("PutBucketPolicy", S3 API reference).
MENDING: Final = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
_EXISTING_TAG: Final = "s3:existingobjecttag/"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a permission is asked on, as far as its service knows it.

    `keys` are condition keys of the request beside the permission's own; `tags` reads the object's, and is called only when a policy
    asks for one.
    """

    account: str | None = None  # whose it is; None: the caller's
    policy: NamedPolicy | None = None
    owner_only: bool = False  # S3's RestrictPublicBuckets: a public policy lets in nobody but the owner's account
    keys: Mapping[str, Value] = field(default_factory=dict[str, Value])
    tags: Callable[[], Mapping[str, Value]] | None = None


OWN: Final = Target()


class Authoriser:
    """Decisions on principals. `allow` returns why it was allowed, or raises AwsError AccessDenied."""

    def __init__(self, state: IamState) -> None:
        self._state = state

    def allow(
        self,
        principal: Principal,
        need: Need,
        way: Way,
        *,
        service: str,
        target: Target = OWN,
    ) -> str:
        foreign = target.account is not None and target.account != principal.account
        if target.owner_only and foreign:
            raise _refusal(
                service, "Access Denied", why="RestrictPublicBuckets lets only the bucket owner's account in"
            )
        if principal is ANONYMOUS and target.policy is None:
            raise _refusal(service, "Access Denied", why="the request is not signed")
        if principal.is_root and not foreign and target.policy is None and principal.session_policies is None:
            return "the account's root"
        decision = self.decide(principal, need, way, target)
        if decision.allowed:
            return decision.reason
        if principal.is_root and not foreign and need.action in MENDING and decision.decided_by is PolicyKind.RESOURCE:
            return "the bucket owner's root can always mend the bucket's policy"
        # S3 tells what is missing within the account alone ("Troubleshoot access denied (403 Forbidden) errors", S3 User Guide).
        words = "Access Denied" if foreign else _words(principal, need, decision)
        raise _refusal(service, words, why=decision.reason)

    def decide(self, principal: Principal, need: Need, way: Way, target: Target = OWN) -> Decision:
        anonymous = principal is ANONYMOUS
        policies, boundary = ((), None) if anonymous else self._policies(principal)
        found = PolicySet(
            identity=policies,
            boundary=boundary,
            session=principal.session_policies,
            resource=target.policy,
            # Nobody's own policies speak of an anonymous caller: the resource's alone decides, as within one account.
            resource_account=None if anonymous else target.account or principal.account,
        )
        keys = self._keys(principal) | way.keys()
        keys.update(principal.context)  # a session's tags come before its role's of the same key
        keys.update(need.context)
        keys.update(target.keys)
        if target.account is not None:
            keys["aws:ResourceAccount"] = target.account
        if target.tags is not None and _asks_for_tags(found):
            keys.update(target.tags())
        request = Request(
            action=need.action,
            resource=need.resource,
            caller=Caller()
            if anonymous
            else Caller(
                arn=principal.arn,
                account=principal.account,
                role_arn=principal.role_arn,
                unique_id=None if principal.is_root else principal.user_id,
            ),
            context=Context(keys),
        )
        return decide(request, found)

    def _keys(self, principal: Principal) -> dict[str, Value]:
        """Condition keys of who asks, whatever they ask for."""
        owner = None
        if principal.role is not None:
            owner = self._state.role(principal.account, principal.role)
        elif principal.user and principal is not ANONYMOUS:
            owner = self._state.user(principal.account, principal.user)
        keys = _of_principal(principal)
        if owner is not None and owner.tags:
            keys |= contexts.tag_keys("aws:PrincipalTag", owner.tags)
        return keys

    def _policies(self, principal: Principal) -> tuple[tuple[NamedPolicy, ...], NamedPolicy | None]:
        if principal.role is not None:
            role = self._state.role(principal.account, principal.role)
            # A role deleted, or made anew under the same name, is not the role that was assumed.
            if role is None or role.role_id != principal.role_id:
                return (), None
            return role.policies, role.boundary
        if principal.is_root:
            return (ROOT,), None
        user = self._state.user(principal.account, principal.user or "")
        return (user.policies, user.boundary) if user is not None else ((), None)


def _of_principal(principal: Principal) -> dict[str, Value]:
    if principal is ANONYMOUS:
        return {"aws:PrincipalType": "Anonymous", "aws:userid": "anonymous"}
    keys: dict[str, Value] = {
        "aws:PrincipalArn": principal.role_arn or principal.arn,
        "aws:PrincipalAccount": principal.account,
        "aws:PrincipalType": "AssumedRole",
        "aws:PrincipalIsAWSService": False,
        "aws:userid": principal.user_id,
        "aws:ResourceAccount": principal.account,
    }
    if principal.role is None:
        federated = principal.session == "federated"
        keys["aws:PrincipalType"] = "FederatedUser" if federated else "Account" if principal.is_root else "User"
        if principal.user and not federated:
            keys["aws:username"] = principal.user
    return keys


def _refusal(service: str, message: str, *, why: str) -> AwsError:
    code = "AccessDeniedException" if service not in {"s3", "iam", "sts", "ec2"} else "AccessDenied"
    return AwsError(code, message, 403, why=why)


# AWS's words for each kind of policy: "because no … allows the … action", "with an explicit deny in …" ("Troubleshoot access
# denied error messages", IAM User Guide).
_KINDS: Final = {
    PolicyKind.IDENTITY: ("identity-based policy", "an identity-based policy"),
    PolicyKind.RESOURCE: ("resource-based policy", "a resource-based policy"),
    PolicyKind.TRUST: ("role trust policy", "the role trust policy"),
    PolicyKind.BOUNDARY: ("permissions boundary", "a permissions boundary"),
    PolicyKind.SESSION: ("session policy", "a session policy"),
    PolicyKind.SCP: ("service control policy", "a service control policy"),
    PolicyKind.RCP: ("resource control policy", "a resource control policy"),
    PolicyKind.ENDPOINT: ("VPC endpoint policy", "a VPC endpoint policy"),
}


def _words(principal: Principal, need: Need, decision: Decision) -> str:
    """AWS's sentence ("Troubleshoot access denied error messages", IAM User Guide)."""
    if principal is ANONYMOUS:
        return "Access Denied"
    silent, denying = _KINDS[decision.decided_by]
    if decision.outcome is Outcome.EXPLICIT_DENY:
        because = f"with an explicit deny in {denying}"
    else:
        because = f"because no {silent} allows the {need.action} action"
    target = "" if need.resource == "*" else f' on resource: "{need.resource}"'
    return f"User: {principal.arn} is not authorized to perform: {need.action}{target} {because}"


def _asks_for_tags(policies: Iterable[NamedPolicy]) -> bool:
    return any(_EXISTING_TAG in text for policy in policies for text in policy.document.asked_for)
