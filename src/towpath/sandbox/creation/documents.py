"""Policy documents as IAM reads them before it stores one: their grammar, their sizes, and whether whom they name exists."""

from __future__ import annotations

import re
from typing import Any, Final

from towpath.errors import UsageError
from towpath.iam import quota
from towpath.iam.policy import PolicyDocument, PolicyError, PolicyKind, parse_policy
from towpath.sandbox.creation.rule import Asked, limit
from towpath.sandbox.errors import AwsError

QUOTAS: Final = quota.Quotas()

_SERVICES: Final = (".amazonaws.com", ".amazonaws.com.cn", ".amazon.com", ".aws.internal")
_ENTITY: Final = re.compile(
    r"arn:[a-z-]+:iam::(?P<account>\d{12}):(?P<kind>role|user)(?P<path>/(?:.*/)?)(?P<name>[^/]+)"
)
_UNIQUE_ID: Final = re.compile(r"(AROA|AIDA)[A-Z0-9]{12,}")


def document(text: str, kind: PolicyKind) -> PolicyDocument:
    """Raises AwsError MalformedPolicyDocument."""
    try:
        return parse_policy(text, kind=kind)
    except PolicyError as error:
        raise AwsError("MalformedPolicyDocument", _wording(error, kind), 400, why=str(error)) from None
    except UsageError as error:
        raise AwsError("MalformedPolicyDocument", str(error), 400) from None


def _wording(error: PolicyError, kind: PolicyKind) -> str:
    """AWS's own text where one is published for this mistake; else ours, which says more."""
    if kind is PolicyKind.TRUST and "Resource" in error.path:
        return "Has prohibited field Resource"
    return f"Syntax error in policy: {error.reason}" + (f" (at {error.path})" if error.path else "")


def check_trust(asked: Asked, text: str) -> None:
    """Raises AwsError for a trust policy IAM would not store."""
    found = document(text, PolicyKind.TRUST)
    if quota.size(found.source) > QUOTAS.assume_role_policy_size:
        raise limit("ACLSizePerRole", QUOTAS.assume_role_policy_size)
    for statement in found.statements:
        for kind, name in (*(statement.principals or ()), *(statement.not_principals or ())):
            if not _exists(asked, kind, name):
                raise AwsError(
                    "MalformedPolicyDocument", f'Invalid principal in policy: "{kind.upper()}":"{name}"', 400
                )


def _exists(asked: Asked, kind: str, name: str) -> bool:
    """Whether IAM knows the principal. Roles and users of accounts nobody used here cannot be known, and are believed."""
    if kind == "Service":
        return name.endswith(_SERVICES)
    if kind != "AWS":
        return True
    if _UNIQUE_ID.fullmatch(name):
        return name in _unique_ids(asked)
    match = _ENTITY.fullmatch(name)
    if match is None or not asked.state.used(match["account"]):
        return True
    find: Any = asked.state.role if match["kind"] == "role" else asked.state.user
    found = find(match["account"], match["name"])
    return found is not None and found.arn == name


def _unique_ids(asked: Asked) -> set[str]:
    """Those of roles and users that exist. What a deleted one left in a policy cannot be stored a second time."""
    roles = {str(item["RoleId"]) for item in asked.pages("list_roles", "Roles")}
    users = (asked.state.user(asked.account, str(item["UserName"])) for item in asked.pages("list_users", "Users"))
    return roles | {found.user_id for found in users if found is not None}


def check_boundary(asked: Asked) -> None:
    """Raises AwsError unless `PermissionsBoundary`, where it is given, is a managed policy that exists."""
    arn = asked.text("PermissionsBoundary")
    if not arn:
        return
    if asked.state.managed_policy(asked.account, arn) is None:
        raise AwsError("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404)
