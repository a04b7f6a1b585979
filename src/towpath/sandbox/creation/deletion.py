"""What has to go first: IAM deletes nothing that something hangs on.

Source: the pages of the Delete operations in the IAM API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from towpath.sandbox.creation import entities, policies
from towpath.sandbox.creation.rule import Asked, Rule
from towpath.sandbox.errors import AwsError

# What a user may still have: the listing, where the answer has it, and what AWS says.
_OF_A_USER: Final = (
    ("list_access_keys", "AccessKeyMetadata", "must delete access keys first"),
    ("list_groups_for_user", "Groups", "must remove users from group first"),
    ("list_attached_user_policies", "AttachedPolicies", "must detach all policies first"),
    ("list_user_policies", "PolicyNames", "must delete policies first"),
    ("list_mfa_devices", "MFADevices", "must delete MFA device first"),
    ("list_ssh_public_keys", "SSHPublicKeys", "must delete ssh public keys first"),
    ("list_signing_certificates", "Certificates", "must delete signing certificates first"),
)
_OF_A_GROUP: Final = (
    ("list_attached_group_policies", "AttachedPolicies", "must detach all policies first"),
    ("list_group_policies", "PolicyNames", "must delete policies first"),
)


def conflict(must: str) -> AwsError:
    return AwsError("DeleteConflict", f"Cannot delete entity, {must}.", 409)


def _user(asked: Asked) -> None:
    name = entities.user(asked)
    for operation, key, must in _OF_A_USER:
        if asked.pages(operation, key, UserName=name):
            raise conflict(must)
    iam = asked.iam
    try:
        iam.get_login_profile(UserName=name)
    except iam.exceptions.NoSuchEntityException:
        return
    raise conflict("must delete login profile first")


def _group(asked: Asked) -> None:
    name = entities.group(asked)
    found: Any = asked.iam.get_group(GroupName=name)
    if found["Users"]:
        raise conflict("must remove users from group first")
    for operation, key, must in _OF_A_GROUP:
        if asked.pages(operation, key, GroupName=name):
            raise conflict(must)


def _policy(asked: Asked) -> None:
    arn = policies.of_the_account(asked)
    found: Any = asked.iam.get_policy(PolicyArn=arn)["Policy"]
    if found["AttachmentCount"] or found["PermissionsBoundaryUsageCount"]:
        raise AwsError("DeleteConflict", "Cannot delete a policy attached to entities.", 409)
    if len(asked.iam.list_policy_versions(PolicyArn=arn)["Versions"]) > 1:
        raise AwsError(
            "DeleteConflict",
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
            409,
        )


def _role(asked: Asked) -> None:
    entities.role(asked)  # what it still has, the emulator says itself


def _alias(asked: Asked) -> None:
    alias = asked.text("AccountAlias")
    if alias not in asked.iam.list_account_aliases()["AccountAliases"]:
        raise AwsError("NoSuchEntity", f"The Account Alias {alias} cannot be found.", 404)


def _saml_provider(asked: Asked) -> None:
    arn = asked.text("SAMLProviderArn")
    if arn not in [item["Arn"] for item in asked.iam.list_saml_providers()["SAMLProviderList"]]:
        raise AwsError("NoSuchEntity", f"Manifest not found for arn {arn}", 404)


RULES: Final[Mapping[str, Rule]] = {
    "DeleteAccountAlias": _alias,
    "DeleteGroup": _group,
    "DeletePolicy": _policy,
    "DeleteRole": _role,
    "DeleteRolePolicy": _role,
    "DeleteSAMLProvider": _saml_provider,
    "DeleteUser": _user,
    "DetachRolePolicy": _role,
}
