"""Which resource a call outside S3 acts on, so that a policy can name it.

Source: the Service Authorization Reference's tables for IAM, STS and EKS. A service with no row here is judged on `*`: a policy
that allows it only on certain ARNs then does not allow it, which errs on the side of refusing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from towpath.iam import arn as arns
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.operations import Operation

# Parameters that hold the ARN itself.
_ARN_PARAMETERS: Final = ("PolicyArn", "OpenIDConnectProviderArn", "RoleArn", "PolicySourceArn")
# IAM actions that have no resource type: judged on "*".
_NO_RESOURCE: Final = frozenset(
    {
        "ListRoles",
        "ListPolicies",
        "ListUsers",
        "ListGroups",
        "ListOpenIDConnectProviders",
        "GetAccountSummary",
        "ListAccountAliases",
        "GetAccountAuthorizationDetails",
    }
)


def resource(operation: Operation, *, account: str, region: str, state: IamState) -> str:
    """The ARN this call acts on, or `*`."""
    if operation.service == "iam":
        return _iam(operation, account, state)
    if operation.service == "sts":
        return str(operation.parameters.get("RoleArn", "*"))
    if operation.service == "eks":
        name = operation.parameters.get("name")
        return f"arn:{state.partition}:eks:{region}:{account}:cluster/{name}" if name else "*"
    return "*"


def _iam(operation: Operation, account: str, state: IamState) -> str:
    found = operation.parameters
    partition = state.partition
    if operation.name in _NO_RESOURCE:
        return "*"
    path = str(found.get("Path", "/"))
    if "RoleName" in found:
        name = str(found["RoleName"])
        if operation.name == "CreateRole":
            return str(arns.role_arn(partition=partition, account=account, name=name, path=path))
        # The path is part of the ARN, and only IAM knows it.
        return state.role_names(account).get(name.lower()) or str(
            arns.role_arn(partition=partition, account=account, name=name)
        )
    if "UserName" in found:
        return f"arn:{partition}:iam::{account}:user{path}{found['UserName']}"
    if "GroupName" in found:
        return f"arn:{partition}:iam::{account}:group{path}{found['GroupName']}"
    if operation.name == "CreatePolicy":
        return str(
            arns.policy_arn(partition=partition, account=account, name=str(found.get("PolicyName", "")), path=path)
        )
    if operation.name == "CreateOpenIDConnectProvider":
        return str(arns.provider_arn(partition=partition, account=account, issuer=str(found.get("Url", ""))))
    return next((str(found[name]) for name in _ARN_PARAMETERS if name in found), "*")


def context(operation: Operation) -> Mapping[str, Any]:
    """Condition keys that only the call's own parameters can tell."""
    found = operation.parameters
    out: dict[str, Any] = {}
    if operation.service == "iam":
        if "PolicyArn" in found and operation.name.startswith(("Attach", "Detach")):
            out["iam:PolicyARN"] = found["PolicyArn"]
        if "PermissionsBoundary" in found:
            out["iam:PermissionsBoundary"] = found["PermissionsBoundary"]
    return out
