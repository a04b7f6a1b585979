"""What is wrong with a chain: every finding that the observed values alone can tell, link by link. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from towpath.chain import links_aws, links_kubernetes, links_trust
from towpath.chain.finding import Finding, LinkName, LinkState, Severity
from towpath.chain.observed import Chain

Check = Callable[[Chain], LinkState]

CHECKS: Final[dict[LinkName, Check]] = {
    LinkName.ISSUER: links_aws.issuer,
    LinkName.PROVIDER: links_aws.provider,
    LinkName.ROLE: links_aws.role,
    LinkName.TRUST: links_trust.trust,
    LinkName.PERMISSIONS: links_aws.permissions,
    LinkName.SERVICE_ACCOUNT: links_kubernetes.service_account,
    LinkName.INJECTION: links_kubernetes.injection,
    LinkName.EXCHANGE: links_kubernetes.exchange,
    LinkName.ACCESS: links_kubernetes.access,
}


def links(chain: Chain) -> tuple[LinkState, ...]:
    """The nine links in their order, each with its findings."""
    return tuple(CHECKS[name](chain) for name in LinkName)


def diagnose(chain: Chain) -> tuple[Finding, ...]:
    """Every finding, errors before warnings, each group in the links' order."""
    found = [finding for state in links(chain) for finding in state.findings]
    return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.ERROR))
