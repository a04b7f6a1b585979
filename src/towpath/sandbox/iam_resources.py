"""Which of IAM's own resources a call acts on, and the condition keys it brings.

Source: "Actions, resources, and condition keys for AWS Identity and Access Management" in the Service Authorization Reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from towpath.iam import arn as arns
from towpath.sandbox import contexts, request_tags
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.operations import Operation
from towpath.sandbox.s3_operations import Need

# Parameters that hold the ARN itself.
_ARN_PARAMETERS: Final = ("PolicyArn", "OpenIDConnectProviderArn", "SAMLProviderArn", "PolicySourceArn", "SerialNumber")
# IAM actions that have no resource type: judged on "*".
_NO_RESOURCE: Final = frozenset(
    {
        "GetAccountAuthorizationDetails",
        "GetAccountPasswordPolicy",
        "GetAccountSummary",
        "ListAccountAliases",
        "ListGroups",
        "ListInstanceProfiles",
        "ListOpenIDConnectProviders",
        "ListPolicies",
        "ListRoles",
        "ListSAMLProviders",
        "ListUsers",
        "SimulateCustomPolicy",
    }
)


def needs(operation: Operation, *, account: str, state: IamState) -> tuple[Need, ...]:
    """The call's own permission, and iam:PassRole where a role is given to an instance profile."""
    found = operation.parameters
    resource = _resource(operation, account, state)
    own = Need(action=operation.action, resource=resource, context=_context(operation, account, state))
    if operation.name != "AddRoleToInstanceProfile":
        return (own,)
    role = _role(found, account, state)
    return (own, Need(action="iam:PassRole", resource=role, context={"iam:PassedToService": "ec2.amazonaws.com"}))


def _resource(operation: Operation, account: str, state: IamState) -> str:
    found, name = operation.parameters, operation.name
    start = f"arn:{state.partition}:iam::{account}:"
    if name in _NO_RESOURCE:
        return "*"
    path = str(found.get("Path", "/"))
    if "InstanceProfileName" in found:
        profile = str(found["InstanceProfileName"])
        if name == "CreateInstanceProfile":
            return f"{start}instance-profile{path}{profile}"
        return state.arn_of(account, "instance_profile", profile) or f"{start}instance-profile/{profile}"
    if name == "CreateServiceLinkedRole":
        return f"{start}role/aws-service-role/{found.get('AWSServiceName', '')}/*"
    if "RoleName" in found:
        if name == "CreateRole":
            return f"{start}role{path}{found['RoleName']}"
        return _role(found, account, state)
    if "GroupName" in found:
        group = str(found["GroupName"])
        if name == "CreateGroup":
            return f"{start}group{path}{group}"
        # Of the two a membership names, the group is the resource.
        return state.arn_of(account, "group", group) or f"{start}group/{group}"
    if "UserName" in found:
        user = str(found["UserName"])
        if name == "CreateUser":
            return f"{start}user{path}{user}"
        known = state.user(account, user)
        return known.arn if known is not None else f"{start}user/{user}"
    if name == "CreatePolicy":
        return f"{start}policy{path}{found.get('PolicyName', '')}"
    if name == "CreateOpenIDConnectProvider":
        return str(arns.provider_arn(partition=state.partition, account=account, issuer=str(found.get("Url", ""))))
    return next((str(found[parameter]) for parameter in _ARN_PARAMETERS if parameter in found), "*")


def _role(found: Mapping[str, Any], account: str, state: IamState) -> str:
    """The path is part of the ARN, and only IAM knows it."""
    name = str(found["RoleName"])
    return state.role_names(account).get(name.lower()) or str(
        arns.role_arn(partition=state.partition, account=account, name=name)
    )


def _context(operation: Operation, account: str, state: IamState) -> Mapping[str, Any]:
    """Condition keys that only the call's own parameters, or what they name, can tell."""
    found = operation.parameters
    out: dict[str, Any] = {}
    if "PolicyArn" in found and operation.name.startswith(("Attach", "Detach")):
        out["iam:PolicyARN"] = found["PolicyArn"]
    if "PermissionsBoundary" in found:
        out["iam:PermissionsBoundary"] = found["PermissionsBoundary"]
    if operation.name == "CreateServiceLinkedRole":
        out["iam:AWSServiceName"] = found.get("AWSServiceName", "")
    out |= request_tags.of_parameters(found)
    if operation.name == "CreateRole":
        return out
    role = state.role(account, str(found["RoleName"])) if "RoleName" in found else None
    owner = role or (state.user(account, str(found["UserName"])) if "UserName" in found else None)
    if owner is not None:
        out |= contexts.tag_keys("aws:ResourceTag", owner.tags) | contexts.tag_keys("iam:ResourceTag", owner.tags)
        if owner.boundary is not None and owner.boundary_arn:
            out.setdefault("iam:PermissionsBoundary", owner.boundary_arn)
    return out
