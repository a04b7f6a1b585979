"""Policies written, attached and versioned: sizes, quotas, and policies that are AWS's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from towpath.iam import quota
from towpath.iam.policy import PolicyKind
from towpath.sandbox.creation import documents, entities
from towpath.sandbox.creation.documents import QUOTAS
from towpath.sandbox.creation.rule import Asked, Rule, check_tags, limit
from towpath.sandbox.errors import AwsError

ATTACHED: Final = 10  # managed policies of one role, user or group
POLICIES: Final = 1_500
# Characters of all inline policies of one entity together.
INLINE: Final = {"role": 10_240, "user": 2_048, "group": 5_120}


def of_the_account(asked: Asked) -> str:
    """The policy's ARN. Raises AwsError for one that is AWS's or another account's to change, and for one that is not there."""
    arn = asked.text("PolicyArn")
    if arn.split(":")[4:5] != [asked.account]:
        raise AwsError("AccessDenied", "Policy is outside your own account.", 403)
    if asked.state.managed_policy(asked.account, arn) is None:
        raise AwsError("NoSuchEntity", f"Policy {arn} was not found.", 404)
    return arn


def _create(asked: Asked) -> None:
    name = asked.text("PolicyName")
    check_tags(asked.parameters.get("Tags", ()))
    _managed(asked)
    arns = asked.state.policy_arns(asked.account)
    if any(arn.rpartition("/")[2].lower() == name.lower() for arn in arns):
        raise AwsError(
            "EntityAlreadyExists", f"A policy called {name} already exists. Duplicate names are not allowed.", 409
        )
    if len(arns) >= POLICIES:
        raise limit("PoliciesPerAccount", POLICIES)


def _create_version(asked: Asked) -> None:
    of_the_account(asked)
    _managed(asked)


def _managed(asked: Asked) -> None:
    found = documents.document(asked.text("PolicyDocument"), PolicyKind.IDENTITY)
    if quota.size(found.source) > QUOTAS.policy_size:
        raise limit("PolicySize", QUOTAS.policy_size)


def _inline(kind: str) -> Rule:
    """The sum of the entity's inline policies, the new one in the place of an older one of its name."""
    member = f"{kind.title()}Name"

    def check(asked: Asked) -> None:
        entity, written = _entity(asked, kind), asked.text("PolicyName")
        found = documents.document(asked.text("PolicyDocument"), PolicyKind.IDENTITY)
        read: Any = getattr(asked.iam, f"get_{kind}_policy")
        total = quota.size(found.source)
        for name in asked.pages(f"list_{kind}_policies", "PolicyNames", **{member: entity}):
            if name != written:
                total += _size(read(**{member: entity, "PolicyName": name})["PolicyDocument"])
        if total > INLINE[kind]:
            raise AwsError(
                "LimitExceeded", f"Maximum policy size of {INLINE[kind]} bytes exceeded for {kind} {entity}", 409
            )

    return check


def _size(found: object) -> int:
    source: Any = json.loads(found) if isinstance(found, str) else found
    return quota.size(cast("Mapping[str, Any]", source))


def _attach(kind: str) -> Rule:
    member = f"{kind.title()}Name"

    def check(asked: Asked) -> None:
        entity, arn = _entity(asked, kind), asked.text("PolicyArn")
        if asked.state.managed_policy(asked.account, arn) is None:
            raise AwsError("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", 404)
        attached = [
            item["PolicyArn"]
            for item in asked.pages(f"list_attached_{kind}_policies", "AttachedPolicies", **{member: entity})
        ]
        if arn not in attached and len(attached) >= ATTACHED:
            raise limit(f"PoliciesPer{kind.title()}", ATTACHED)

    return check


def _entity(asked: Asked, kind: str) -> str:
    if kind == "role":
        entities.role(asked)
        return asked.text("RoleName")
    return entities.user(asked) if kind == "user" else entities.group(asked)


def _update_trust(asked: Asked) -> None:
    entities.role(asked)
    documents.check_trust(asked, asked.text("PolicyDocument"))


def _boundary(kind: str) -> Rule:
    def check(asked: Asked) -> None:
        _entity(asked, kind)
        documents.check_boundary(asked)

    return check


def _there(kind: str) -> Rule:
    def check(asked: Asked) -> None:
        _entity(asked, kind)

    return check


def _own(asked: Asked) -> None:
    of_the_account(asked)


RULES: Final[Mapping[str, Rule]] = {
    "AttachGroupPolicy": _attach("group"),
    "AttachRolePolicy": _attach("role"),
    "AttachUserPolicy": _attach("user"),
    "CreatePolicy": _create,
    "CreatePolicyVersion": _create_version,
    "DeletePolicyVersion": _own,
    "DeleteRolePermissionsBoundary": _there("role"),
    "DeleteUserPermissionsBoundary": _there("user"),
    "PutGroupPolicy": _inline("group"),
    "PutRolePermissionsBoundary": _boundary("role"),
    "PutRolePolicy": _inline("role"),
    "PutUserPermissionsBoundary": _boundary("user"),
    "PutUserPolicy": _inline("user"),
    "SetDefaultPolicyVersion": _own,
    "UntagPolicy": _own,
    "UpdateAssumeRolePolicy": _update_trust,
}
