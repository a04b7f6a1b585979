"""Sizes as IAM counts them, checked before a call is made.

Source: "IAM and AWS STS quotas", IAM User Guide: white space outside strings does not count. The account's own numbers come from
GetAccountSummary, which has no row for providers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towpath.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Quotas:
    """One account's limits; characters unless said otherwise. The defaults are a new account's."""

    assume_role_policy_size: int = 2_048
    policy_size: int = 6_144
    attached_policies_per_role: int = 10
    roles: int = 1_000
    policies: int = 1_500

    @classmethod
    def from_account_summary(cls, summary: Mapping[str, int]) -> Quotas:
        """From GetAccountSummary's SummaryMap; a row that is missing keeps its default."""
        rows = {
            "assume_role_policy_size": "AssumeRolePolicySizeQuota",
            "policy_size": "PolicySizeQuota",
            "attached_policies_per_role": "AttachedPoliciesPerRoleQuota",
            "roles": "RolesQuota",
            "policies": "PoliciesQuota",
        }
        return cls(**{field: int(summary[row]) for field, row in rows.items() if row in summary})


def size(document: Mapping[str, Any]) -> int:
    """Characters of the document as IAM counts them."""
    return len(json.dumps(document, separators=(",", ":"), ensure_ascii=False))


def check_trust_policy(document: Mapping[str, Any], quotas: Quotas, *, role: str) -> None:
    """Raises UsageError when the role's trust policy would be longer than the account allows."""
    _check(
        size(document),
        quotas.assume_role_policy_size,
        f"the trust policy of role {role}",
        "let fewer service accounts share the role (or one statement hold several subjects), or ask AWS to raise the quota 'Role trust policy length' (at most 8192)",
    )


def check_managed_policy(document: Mapping[str, Any], quotas: Quotas, *, name: str) -> None:
    """Raises UsageError when a managed policy would be longer than IAM allows."""
    _check(
        size(document),
        quotas.policy_size,
        f"the policy {name}",
        "split it into two policies, or name resources by prefix",
    )


def check_attachments(count: int, quotas: Quotas, *, role: str) -> None:
    """Raises UsageError when the role would have more managed policies than the account allows."""
    if count > quotas.attached_policies_per_role:
        raise UsageError(
            f"role {role} would have {count} managed policies; this account allows {quotas.attached_policies_per_role}",
            where=f"role {role}",
            todo="merge policies, detach one, or ask AWS to raise the quota 'Managed policies attached to an IAM role' (at most 25)",
        )


def _check(found: int, limit: int, what: str, todo: str) -> None:
    if found > limit:
        raise UsageError(
            f"{what} would have {found} characters; this account allows {limit}",
            where=what.removeprefix("the "),
            todo=todo,
        )
