"""What a rule is given, and the refusals that many of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState

TAGS: Final = 50
# Kind -> the operation that lists it, where the answer has it, and the member with its name.
LISTS: Final = {
    "Role": ("list_roles", "Roles", "RoleName"),
    "User": ("list_users", "Users", "UserName"),
    "Group": ("list_groups", "Groups", "GroupName"),
    "Instance Profile": ("list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One write: the account it is for, its parameters, and what IAM holds now."""

    account: str
    parameters: Mapping[str, Any]
    state: IamState

    @property
    def iam(self) -> Any:
        """A client of the emulator's IAM in this account."""
        return self.state.client(self.account)

    def text(self, name: str) -> str:
        return str(self.parameters.get(name, ""))

    def pages(self, operation: str, key: str, **arguments: str) -> list[Any]:
        return [item for page in self._pages(operation, arguments) for item in page[key]]

    def _pages(self, operation: str, arguments: Mapping[str, str]) -> Any:
        return self.iam.get_paginator(operation).paginate(**arguments, PaginationConfig={"PageSize": 1000})

    def names(self, kind: str) -> dict[str, str]:
        """Lower-case name -> ARN of everything of that kind: IAM compares names without case when it creates."""
        operation, key, member = LISTS[kind]
        return {str(item[member]).lower(): str(item["Arn"]) for item in self.pages(operation, key)}


Rule = Callable[[Asked], None]


def taken(kind: str, name: str) -> AwsError:
    return AwsError("EntityAlreadyExists", f"{kind} with name {name} already exists.", 409)


def missing(kind: str, name: str) -> AwsError:
    return AwsError("NoSuchEntity", f"The {kind.lower()} with name {name} cannot be found.", 404)


def limit(quota: str, number: int) -> AwsError:
    return AwsError("LimitExceeded", f"Cannot exceed quota for {quota}: {number}", 409)


def invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message, 400)


def check_tags(tags: Sequence[Mapping[str, Any]], *, already: Sequence[str] = ()) -> None:
    """`already`: the keys the thing has; a new value for one of them takes no further place."""
    keys = [str(tag.get("Key", "")).lower() for tag in tags]
    if len(set(keys)) != len(keys):
        raise AwsError("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.", 400)
    if any(key.startswith("aws:") for key in keys):
        raise AwsError("InvalidInput", "Tag keys starting with 'aws:' are reserved for system use.", 400)
    if len({*keys, *(key.lower() for key in already)}) > TAGS:
        raise AwsError("LimitExceeded", "The number of tags has reached the maximum limit.", 409)
