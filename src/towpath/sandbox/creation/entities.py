"""Roles, users, groups and instance profiles: names, quotas, tags, and roles that are AWS's own to change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from towpath.sandbox.creation import documents
from towpath.sandbox.creation.rule import Asked, Rule, check_tags, limit, missing, taken
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import Role

# "IAM and AWS STS quotas": the defaults of a new account.
ROLES: Final = 1_000
USERS: Final = 5_000
GROUPS: Final = 300
INSTANCE_PROFILES: Final = 1_000
GROUPS_PER_USER: Final = 10
SERVICE_PATH: Final = "/aws-service-role/"

_SERVICE: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?")


def role(asked: Asked, *, writing: bool = True) -> Role:
    """The role that is named. Raises AwsError NoSuchEntity, or UnmodifiableEntity for a service's own role."""
    name = asked.text("RoleName")
    found = asked.state.role(asked.account, name)
    if found is None:
        raise missing("Role", name)
    if writing and f":role{SERVICE_PATH}" in found.arn:
        raise AwsError(
            "UnmodifiableEntity",
            f"Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS",
            400,
        )
    return found


def user(asked: Asked) -> str:
    name = asked.text("UserName")
    if asked.state.user(asked.account, name) is None:
        raise missing("User", name)
    return name


def group(asked: Asked) -> str:
    name = asked.text("GroupName")
    if name.lower() not in asked.names("Group"):
        raise missing("Group", name)
    return name


def _create_role(asked: Asked) -> None:
    if asked.text("Path").startswith(SERVICE_PATH):
        raise AwsError("InvalidInput", f"Path prefix {SERVICE_PATH} is reserved for the roles of AWS's services.", 400)
    check_tags(asked.parameters.get("Tags", ()))
    documents.check_trust(asked, asked.text("AssumeRolePolicyDocument"))
    documents.check_boundary(asked)
    _new(asked, "Role", asked.text("RoleName"), "RolesPerAccount", ROLES)


def _create_service_role(asked: Asked) -> None:
    if not _SERVICE.fullmatch(asked.text("AWSServiceName")):
        raise AwsError("InvalidInput", f"{asked.text('AWSServiceName')} is not a valid AWS service name.", 400)
    if len(asked.names("Role")) >= ROLES:
        raise limit("RolesPerAccount", ROLES)


def _create_user(asked: Asked) -> None:
    check_tags(asked.parameters.get("Tags", ()))
    documents.check_boundary(asked)
    _new(asked, "User", asked.text("UserName"), "UsersPerAccount", USERS)


def _create_group(asked: Asked) -> None:
    _new(asked, "Group", asked.text("GroupName"), "GroupsPerAccount", GROUPS)


def _create_instance_profile(asked: Asked) -> None:
    check_tags(asked.parameters.get("Tags", ()))
    name = asked.text("InstanceProfileName")
    if name.lower() in asked.names("Instance Profile"):
        raise AwsError("EntityAlreadyExists", f"Instance Profile {name} already exists.", 409)
    if len(asked.names("Instance Profile")) >= INSTANCE_PROFILES:
        raise limit("InstanceProfilesPerAccount", INSTANCE_PROFILES)


def _new(asked: Asked, kind: str, name: str, quota: str, most: int) -> None:
    names = asked.names(kind)
    if name.lower() in names:
        raise taken(kind, name)
    if len(names) >= most:
        raise limit(quota, most)


def _rename(kind: str, member: str) -> Rule:
    def check(asked: Asked) -> None:
        old, new = asked.text(member), asked.text(f"New{member}")
        names = asked.names(kind)
        if old.lower() not in names:
            raise missing(kind, old)
        if new and new.lower() != old.lower() and new.lower() in names:
            raise taken(kind, new)

    return check


def _add_user_to_group(asked: Asked) -> None:
    name = user(asked)
    target = group(asked)
    groups = [item["GroupName"] for item in asked.pages("list_groups_for_user", "Groups", UserName=name)]
    if target not in groups and len(groups) >= GROUPS_PER_USER:
        raise limit("GroupsPerUser", GROUPS_PER_USER)


def _tag_role(asked: Asked) -> None:
    check_tags(asked.parameters.get("Tags", ()), already=list(role(asked).tags))


def _tag_user(asked: Asked) -> None:
    name = user(asked)
    found = asked.state.user(asked.account, name)
    check_tags(asked.parameters.get("Tags", ()), already=list(found.tags) if found else ())


def _tag(asked: Asked) -> None:
    check_tags(asked.parameters.get("Tags", ()))


RULES: Final[Mapping[str, Rule]] = {
    "AddRoleToInstanceProfile": lambda asked: _ignore(role(asked)),
    "AddUserToGroup": _add_user_to_group,
    "CreateAccessKey": lambda asked: _ignore(user(asked)),
    "CreateGroup": _create_group,
    "CreateInstanceProfile": _create_instance_profile,
    "CreateRole": _create_role,
    "CreateServiceLinkedRole": _create_service_role,
    "CreateUser": _create_user,
    "TagInstanceProfile": _tag,
    "TagOpenIDConnectProvider": _tag,
    "TagPolicy": _tag,
    "TagRole": _tag_role,
    "TagUser": _tag_user,
    "UpdateGroup": _rename("Group", "GroupName"),
    "UpdateRole": lambda asked: _ignore(role(asked)),
    "UpdateRoleDescription": lambda asked: _ignore(role(asked)),
    "UpdateUser": _rename("User", "UserName"),
}


def _ignore(_: Any) -> None:
    """A rule only asks whether the thing is there."""
