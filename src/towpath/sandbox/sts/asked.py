"""What a request to assume a role asks for: which role, under which name, for how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towpath.errors import UsageError
from towpath.iam import arn as arns
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState, Role

DEFAULT_DURATION = 3_600  # seconds


@dataclass(frozen=True, kw_only=True)
class Asked:
    role_arn: arns.Arn
    session_name: str
    duration: int  # seconds


def asked(parameters: Mapping[str, Any], *, partition: str) -> Asked:
    """From parameters that passed `constraints.shaped`. Raises AwsError ValidationError."""
    return Asked(
        role_arn=_role_arn(str(parameters["RoleArn"]), partition),
        session_name=str(parameters["RoleSessionName"]),
        duration=int(parameters.get("DurationSeconds", DEFAULT_DURATION)),
    )


def _role_arn(text: str, partition: str) -> arns.Arn:
    try:
        found = arns.Arn.parse(text)
    except UsageError:
        raise AwsError("ValidationError", "Request ARN is invalid", 400, why="RoleArn is not an ARN") from None
    if (
        found.service != "iam"
        or found.resource_type != "role"
        or found.partition != partition
        or not re.fullmatch(r"\d{12}", found.account)
    ):
        raise AwsError("ValidationError", "Request ARN is invalid", 400, why=f"{found} is no role of this partition")
    return found


def role(state: IamState, arn: arns.Arn) -> Role | None:
    """The role of exactly that ARN: its path is part of it."""
    found = state.role(arn.account, arn.resource_name)
    return found if found is not None and found.arn == str(arn) else None


def within_role(duration: int, role: Role) -> None:
    if duration > role.max_session:
        raise AwsError(
            "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.", 400
        )
