"""The links that live in AWS: issuer, provider, role, permissions."""

from __future__ import annotations

from towpath.chain.finding import Finding, LinkName, LinkState
from towpath.chain.observed import Chain, ObservedPolicy, ObservedRole
from towpath.chain.words import apply, document, error, flags, state, unseen, warning
from towpath.errors import UsageError
from towpath.iam import partition as partitions
from towpath.iam import quota


def issuer(chain: Chain) -> LinkState:
    found = chain.issuer
    if found is None:
        return unseen(chain, LinkName.ISSUER, "issuer", "the cluster has no OIDC issuer")
    findings: list[Finding] = []
    if found.discovery is False:
        row = 50 if "names the issuer" in found.problem else 8
        findings.append(
            error(
                "issuer.unreachable",
                LinkName.ISSUER,
                "the issuer's public documents cannot be read, so STS cannot fetch its keys",
                evidence=found.problem,
                command=f"curl -sS {found.url}/.well-known/openid-configuration",
                row=row,
            )
        )
    keys = f", {len(found.keys)} key{'s' if len(found.keys) != 1 else ''} published" if found.discovery else ""
    return state(LinkName.ISSUER, f"{found.url} ({found.source}{keys})", findings)


def provider(chain: Chain) -> LinkState:
    if "provider" in chain.unreadable or chain.issuer is None:
        return unseen(chain, LinkName.PROVIDER, "provider", "not looked for: the issuer is not known")
    wanted, found = chain.wanted, chain.provider
    if found is None:
        near = _look_alike(chain)
        evidence = f"No OpenIDConnect provider in account {chain.account} for {chain.issuer.url}" + (
            f"; the account has {near}" if near else ""
        )
        finding = error(
            "provider.missing",
            LinkName.PROVIDER,
            "the cluster's issuer is not registered in this account, so STS does not know who signed the token",
            evidence=evidence,
            command=f"aws iam create-open-id-connect-provider --url {chain.issuer.url} --client-id-list {wanted.audience}",
            towpath=apply(wanted),
            row=5 if near and "/id/" in near else 1,
        )
        return state(LinkName.PROVIDER, evidence, [finding])
    findings: list[Finding] = []
    if wanted.audience not in found.client_ids:
        findings.append(
            error(
                "provider.audience",
                LinkName.PROVIDER,
                f"the provider does not accept tokens for {wanted.audience}",
                evidence=f"client ids: {', '.join(found.client_ids) or 'none'}",
                command=f"aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {found.arn} --client-id {wanted.audience}",
                towpath=apply(wanted),
                row=6,
            )
        )
    return state(LinkName.PROVIDER, f"{found.arn}, client ids {', '.join(found.client_ids) or 'none'}", findings)


def _look_alike(chain: Chain) -> str:
    """A provider of the account that was probably meant: the same host but for spelling, or the same region's EKS."""
    if chain.issuer is None:
        return ""
    host = partitions.issuer_host(chain.issuer.url)
    others = [arn.partition("oidc-provider/")[2] for arn in chain.other_providers]
    same = [other for other in others if _folded(other) == _folded(host)]
    cluster = [other for other in others if other.partition("/")[0] == host.partition("/")[0]]
    return ", ".join((same or cluster)[:3])


def _folded(host: str) -> str:
    """One spelling for hosts that people take for each other: a trailing slash, S3's two forms, EKS's dual-stack name."""
    return (
        host.rstrip("/").replace("s3-", "s3.").replace("oidc-eks.", "oidc.eks.").replace(".api.aws", ".amazonaws.com")
    )


def role(chain: Chain) -> LinkState:
    if "role" in chain.unreadable:
        return unseen(chain, LinkName.ROLE, "role", "")
    wanted, found = chain.wanted, chain.role
    if found is None:
        finding = error(
            "role.missing",
            LinkName.ROLE,
            f"there is no role {wanted.role_name} in account {chain.account}",
            evidence=f"GetRole {wanted.role_name}: NoSuchEntity",
            command=f"aws iam create-role --role-name {wanted.role_name} --assume-role-policy-document file://trust-policy-irsa.json",
            towpath=apply(wanted),
            row=20,
        )
        return state(LinkName.ROLE, finding.evidence, [finding])
    findings: list[Finding] = []
    if wanted.max_session is not None and wanted.max_session > found.max_session:
        findings.append(
            error(
                "role.max-session",
                LinkName.ROLE,
                f"sessions of {wanted.max_session} s are asked for, the role allows {found.max_session} s",
                evidence=f"MaxSessionDuration {found.max_session}",
                command=f"aws iam update-role --role-name {found.name} --max-session-duration {wanted.max_session}",
                towpath=apply(wanted),
                row=38,
            )
        )
    limits = chain.limits()
    try:
        quota.check_trust_policy(found.trust, limits, role=found.name)
        quota.check_attachments(len(found.attached), limits, role=found.name)
    except UsageError as over:
        findings.append(warning("role.quota", LinkName.ROLE, over.what, evidence=over.what, command=over.todo, row=41))
    return state(LinkName.ROLE, f"{found.arn}, sessions up to {found.max_session} s", findings)


def permissions(chain: Chain) -> LinkState:
    if "permissions" in chain.unreadable or "role" in chain.unreadable:
        return unseen(chain, LinkName.PERMISSIONS, "permissions", chain.unreadable.get("role", ""))
    if chain.role is None:
        return LinkState(link=LinkName.PERMISSIONS, ok=None, evidence="not looked at: there is no role")
    wanted, held = chain.wanted, chain.role
    findings: list[Finding] = []
    findings += [
        _missing_policy(chain, policy.name, policy.document)
        for policy in wanted.policies
        if not _granted(held, policy.document)
    ]
    attached = {item.arn for item in held.attached}
    findings += [
        error(
            "permissions.not-attached",
            LinkName.PERMISSIONS,
            f"the policy {arn} is not attached to the role",
            evidence=f"attached: {', '.join(sorted(attached)) or 'none'}",
            command=f"aws iam attach-role-policy --role-name {held.name} --policy-arn {arn}",
            towpath=f"{apply(wanted)} --policy-arn {arn}",
            row=46,
        )
        for arn in wanted.policy_arns
        if arn not in attached
    ]
    if not held.attached and not held.inline and not findings:
        findings.append(
            error(
                "permissions.none",
                LinkName.PERMISSIONS,
                "the role has no permissions policy: every call under it is refused",
                evidence="no managed and no inline policy",
                command=f"aws iam attach-role-policy --role-name {held.name} --policy-arn ARN",
                towpath=f"towpath identity apply {flags(wanted)} --policy-file s3-policy.json",
                row=46,
            )
        )
    names = [item.name for item in held.attached] + [f"{item.name} (inline)" for item in held.inline]
    return state(LinkName.PERMISSIONS, f"{', '.join(names) or 'none'}", findings)


def _granted(role: ObservedRole, wanted: dict[str, object]) -> bool:
    return any(same_document(item, wanted) for item in role.attached) or any(
        item.document == wanted for item in role.inline
    )


def _missing_policy(chain: Chain, name: str, wanted: dict[str, object]) -> Finding:
    existing = next((item for item in chain.policies if item.name == name), None)
    role_name = chain.wanted.role_name
    if existing is None:
        what, command = (
            f"the policy {name} does not exist",
            f"aws iam create-policy --policy-name {name} --policy-document {document(wanted)}",
        )
    elif same_document(existing, wanted):
        what, command = (
            f"the policy {name} is not attached to the role",
            f"aws iam attach-role-policy --role-name {role_name} --policy-arn {existing.arn}",
        )
    else:
        what = f"the policy {name} grants something else than asked for"
        command = f"aws iam create-policy-version --policy-arn {existing.arn} --set-as-default --policy-document {document(wanted)}"
    return error(
        "permissions.missing",
        LinkName.PERMISSIONS,
        what,
        evidence=what,
        command=command,
        towpath=apply(chain.wanted),
        row=46,
    )


def same_document(policy: ObservedPolicy, wanted: dict[str, object]) -> bool:
    """Whether a managed policy says the same: equal as a JSON value."""
    return policy.document == wanted
