"""AssumeRole: both sides asked, the role's trust policy and the caller's own policies.

Sources: AssumeRole in the STS API reference; "Roles terms and concepts" (role chaining), "Cross-account resource access" and
"Monitor and control actions taken with assumed roles" in the IAM User Guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from towpath.iam.decide import NamedPolicy
from towpath.sandbox import contexts
from towpath.sandbox.authorise import Authoriser, Target
from towpath.sandbox.contexts import Way
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState, Role
from towpath.sandbox.principals import Key, Keys, Principal
from towpath.sandbox.s3_operations import Need
from towpath.sandbox.sts import asked, session, sessions
from towpath.sandbox.sts.asked import Asked
from towpath.sandbox.sts.session import SessionTags

CHAINED_LIMIT: Final = 3_600  # seconds a session may last that was assumed from another role's session


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """One call. `inherited` are the tags the caller's own session hands on."""

    wanted: Asked
    parameters: Mapping[str, Any]
    tags: SessionTags
    inherited: SessionTags
    source_identity: str | None

    def actions(self, principal: Principal) -> Iterator[str]:
        """Every action both sides have to allow: what is inherited has to be allowed anew at each step of a chain."""
        yield "sts:AssumeRole"
        if self.tags.values or self.inherited.transitive:
            yield "sts:TagSession"
        if self.source_identity is not None or principal.source_identity is not None:
            yield "sts:SetSourceIdentity"


def assume(
    assumption: Assumption,
    principal: Principal,
    *,
    state: IamState,
    keys: Keys,
    authoriser: Authoriser,
    managed: session.ManagedPolicy,
    way: Way,
) -> tuple[Key, int | None]:
    """New credentials, and the percentage of the space that policies and tags take. Raises AwsError."""
    wanted, parameters = assumption.wanted, assumption.parameters
    if principal.is_root:
        raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", 403)
    role = asked.role(state, wanted.role_arn)
    if role is None:
        raise _denied(principal, "sts:AssumeRole", str(wanted.role_arn), f"there is no role {wanted.role_arn}")
    source = principal.source_identity or assumption.source_identity
    if assumption.source_identity not in {None, source}:
        raise _denied(
            principal, "sts:SetSourceIdentity", role.arn, "a session's source identity is kept through a chain of roles"
        )
    keys_of_request = {
        **assumption.tags.request_keys(),
        **contexts.tag_keys("aws:ResourceTag", role.tags),
        **contexts.tag_keys("iam:ResourceTag", role.tags),
        "sts:RoleSessionName": wanted.session_name,
    }
    if "ExternalId" in parameters:
        keys_of_request["sts:ExternalId"] = str(parameters["ExternalId"])
    if source is not None:
        keys_of_request["sts:SourceIdentity"] = source
    for action in assumption.actions(principal):
        need = Need(action=action, resource=role.arn, context=keys_of_request)
        _both_sides(need, principal, role, authoriser, way)
    if principal.role is not None and wanted.duration > CHAINED_LIMIT:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            400,
        )
    asked.within_role(wanted.duration, role)
    carried = session.Carried(
        policies=session.policies(parameters, managed),
        tags=assumption.tags,
        inherited=assumption.inherited,
        source_identity=source,
    )
    packed = session.packed_size(parameters, assumption.tags, assumption.inherited)
    return sessions.of_role(keys, role, wanted, carried), packed


def _both_sides(need: Need, principal: Principal, role: Role, authoriser: Authoriser, way: Way) -> None:
    """A trust policy that names the caller itself is enough in one account; one that names the account delegates to it, and then
    the caller's own policies have to allow it too. Across accounts both have to. `iam.decide` knows all of it.
    """
    decision = authoriser.decide(
        principal,
        need,
        way,
        Target(
            account=role.arn.split(":")[4],
            policy=NamedPolicy(name=f"trust policy of {role.name}", document=role.trust),
        ),
    )
    if not decision.allowed:
        raise _denied(principal, need.action, role.arn, decision.reason)


def _denied(principal: Principal, action: str, resource: str, why: str) -> AwsError:
    return AwsError(
        "AccessDenied",
        f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource}",
        403,
        why=why,
    )
