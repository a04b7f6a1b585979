"""May this principal do this? Gathers the policies that speak of it and asks `iam.decide`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from towpath.iam.context import Context
from towpath.iam.decide import Caller, Decision, NamedPolicy, Outcome, PolicySet, Request, decide
from towpath.iam.policy import PolicyKind
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.principals import ANONYMOUS, Principal
from towpath.sandbox.s3_operations import Need


class Authoriser:
    """Decisions on authenticated principals. `allow` returns why it was allowed, or raises AwsError AccessDenied."""

    def __init__(self, state: IamState) -> None:
        self._state = state

    def allow(self, principal: Principal, need: Need, *, service: str, region: str, remote: str, secure: bool) -> str:
        if principal is ANONYMOUS:
            raise self._refusal(service, "Access Denied", why="the request is not signed")
        if principal.is_root:
            return "the account's root"
        decision = self.decide(principal, need, region=region, remote=remote, secure=secure)
        if decision.allowed:
            return decision.reason
        raise self._refusal(service, _words(principal, need, decision), why=decision.reason)

    def decide(
        self,
        principal: Principal,
        need: Need,
        *,
        region: str,
        remote: str,
        secure: bool,
        resource: NamedPolicy | None = None,
        resource_account: str | None = None,
    ) -> Decision:
        """`resource`: the policy of what is asked for, a bucket's or a role's; `resource_account`: who owns it, if not the caller's."""
        policies, boundary = self._policies(principal)
        request = Request(
            action=need.action,
            resource=need.resource,
            caller=Caller(
                arn=principal.arn,
                account=principal.account,
                role_arn=principal.role_arn,
                unique_id=None if principal.is_root else principal.user_id,
            ),
            context=self.context(principal, need, region=region, remote=remote, secure=secure),
        )
        return decide(
            request,
            PolicySet(
                identity=policies,
                boundary=boundary,
                session=principal.session_policies,
                resource=resource,
                resource_account=resource_account or principal.account,
            ),
        )

    def context(self, principal: Principal, need: Need, *, region: str, remote: str, secure: bool) -> Context:
        """The request's condition keys. A session's tags come before its role's of the same key."""
        if principal.role is not None:
            owner = self._state.role(principal.account, principal.role)
        else:
            owner = self._state.user(principal.account, principal.user) if principal.user else None
        tags = owner.tags if owner is not None else {}
        return _context(principal, need, tags, region=region, remote=remote, secure=secure)

    def _policies(self, principal: Principal) -> tuple[tuple[NamedPolicy, ...], NamedPolicy | None]:
        if principal.role is not None:
            role = self._state.role(principal.account, principal.role)
            # A role deleted, or made anew under the same name, is not the role that was assumed.
            if role is None or role.role_id != principal.role_id:
                return (), None
            return role.policies, role.boundary
        user = self._state.user(principal.account, principal.user or "")
        return (user.policies, user.boundary) if user is not None else ((), None)

    @staticmethod
    def _refusal(service: str, message: str, *, why: str) -> AwsError:
        code = "AccessDeniedException" if service not in {"s3", "iam", "sts", "ec2"} else "AccessDenied"
        return AwsError(code, message, 403, why=why)


# AWS's words for each kind of policy: "because no … allows the … action", "with an explicit deny in …" ("Troubleshoot access
# denied error messages", IAM User Guide).
_KINDS = {
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
    silent, denying = _KINDS[decision.decided_by]
    if decision.outcome is Outcome.EXPLICIT_DENY:
        because = f"with an explicit deny in {denying}"
    else:
        because = f"because no {silent} allows the {need.action} action"
    target = "" if need.resource == "*" else f' on resource: "{need.resource}"'
    return f"User: {principal.arn} is not authorized to perform: {need.action}{target} {because}"


def _context(
    principal: Principal, need: Need, tags: Mapping[str, str], *, region: str, remote: str, secure: bool
) -> Context:
    now = datetime.now(UTC)
    keys: dict[str, Any] = {
        "aws:PrincipalArn": principal.role_arn or principal.arn,
        "aws:PrincipalAccount": principal.account,
        "aws:PrincipalType": "AssumedRole" if principal.role else "User",
        "aws:userid": principal.user_id,
        "aws:RequestedRegion": region,
        "aws:SourceIp": remote,
        "aws:SecureTransport": secure,
        "aws:CurrentTime": now,
        "aws:EpochTime": int(now.timestamp()),
        "aws:ResourceAccount": principal.account,
    }
    if principal.user and principal.session != "federated":
        keys["aws:username"] = principal.user
    keys |= {f"aws:PrincipalTag/{name}": value for name, value in tags.items()}
    extra: Mapping[str, Any] = {**principal.context, **need.context}
    return Context({**keys, **extra})
