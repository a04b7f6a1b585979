"""What is risky in a policy, and what does not do what it says: a table of named rules over one document.

Only what is sure from the document alone is said. Each finding names the rule, the place, the reason and what to write instead; the rules
stand in lint_allow (wider than it looks), lint_match (does not say what it seems to), lint_trust and lint_names, each with its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from towpath.iam import lint_allow, lint_match, lint_names, lint_trust
from towpath.iam.lint_finding import Catalogue, Finding, Place, Rule, Severity
from towpath.iam.policy import PolicyDocument, PolicyKind
from towpath.iam.quota import Quotas, size

__all__ = ["RULES", "Catalogue", "Finding", "Severity", "lint", "longest", "size"]

SESSION_POLICY: Final = 2_048  # characters ("IAM and AWS STS quotas")
ORGANIZATION_POLICY: Final = 5_120  # characters ("Quotas for AWS Organizations")
ENDPOINT_POLICY: Final = 20_480  # characters ("Amazon VPC quotas")
RULES: Final[tuple[Rule, ...]] = (*lint_allow.RULES, *lint_trust.RULES, *lint_match.RULES, *lint_names.RULES)


def lint(
    document: PolicyDocument, *, catalogue: Catalogue | None = None, quotas: Quotas | None = None
) -> tuple[Finding, ...]:
    """Everything the rules find: errors first, then in the order of the document."""
    found = [*_document(document, quotas or Quotas())]
    single = not isinstance(document.source["Statement"], list)
    for statement in document.statements:
        path = "Statement" if single else f"Statement[{statement.index}]"
        place = Place(document=document, statement=statement, path=path, catalogue=catalogue)
        for rule in RULES:
            found.extend(rule.apply(place))
    order = list(Severity)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def longest(kind: PolicyKind, quotas: Quotas | None = None) -> int | None:
    """Characters such a document may have: a managed policy, a role's trust policy. None: each service has its own limit."""
    limits = quotas or Quotas()
    return {
        PolicyKind.IDENTITY: limits.policy_size,
        PolicyKind.BOUNDARY: limits.policy_size,
        PolicyKind.TRUST: limits.assume_role_policy_size,
        PolicyKind.SESSION: SESSION_POLICY,
        PolicyKind.SCP: ORGANIZATION_POLICY,
        PolicyKind.RCP: ORGANIZATION_POLICY,
        PolicyKind.ENDPOINT: ENDPOINT_POLICY,
    }.get(kind)


def _document(document: PolicyDocument, quotas: Quotas) -> Iterator[Finding]:
    limit = longest(document.kind, quotas)
    found = size(document.source)
    if limit is not None and found > limit:
        yield Finding(
            rule="too-long",
            severity=Severity.ERROR,
            path="",
            what=f"it has {found} characters without white space; IAM takes {limit}",
            instead="split it, or name resources by prefix"
            if document.kind is not PolicyKind.TRUST
            else "let fewer share the role, or ask AWS to raise the quota 'Role trust policy length'",
        )
    if "Version" not in document.source:
        yield Finding(
            rule="version-missing",
            severity=Severity.NOTE,
            path="Version",
            what="without a Version it is of 2008-10-17, which has no policy variables",
            instead='write "Version": "2012-10-17"',
        )
