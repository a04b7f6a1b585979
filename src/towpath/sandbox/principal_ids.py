"""A principal that is deleted leaves its unique id in the trust and bucket policies that named it, and that id matches nobody.

Source: "AWS JSON policy elements: Principal", IAM User Guide: IAM stores a role or user by its unique id, so one made anew under the
same name is not the one that was trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from towpath.sandbox.iam_state import IamState


@dataclass(frozen=True, kw_only=True)
class Named:
    arn: str
    unique_id: str


def of_deleted(state: IamState, operation: str, account: str, parameters: Mapping[str, Any]) -> Named | None:
    """Whom this call will delete, looked up before it does; None for every other call."""
    if operation == "DeleteRole":
        role = state.role(account, str(parameters.get("RoleName", "")))
        return Named(arn=role.arn, unique_id=role.role_id) if role is not None else None
    if operation == "DeleteUser":
        user = state.user(account, str(parameters.get("UserName", "")))
        return Named(arn=user.arn, unique_id=user.user_id) if user is not None else None
    return None


def replace_everywhere(state: IamState, gone: Named) -> None:
    """In the trust policies of every account that was used."""
    for account in state.accounts():
        iam = state.client(account)
        with state.writing(account):
            for page in iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1000}):
                for role in page["Roles"]:
                    before = role["AssumeRolePolicyDocument"]
                    after = replaced(before, gone)
                    if after != before:
                        iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=json.dumps(after))


def replaced(value: Any, gone: Named, *, principal: bool = False) -> Any:
    """The document with the ARN replaced where it is a principal, and nowhere else."""
    if isinstance(value, Mapping):
        found = cast("Mapping[str, Any]", value)
        return {
            key: replaced(item, gone, principal=principal or key in {"Principal", "NotPrincipal"})
            for key, item in found.items()
        }
    if isinstance(value, list):
        return [replaced(item, gone, principal=principal) for item in cast("list[Any]", value)]
    return gone.unique_id if principal and value == gone.arn else value
