"""The links in the cluster and beyond it: service account, injection, the exchange, and access under the role."""

from __future__ import annotations

import difflib
from typing import Final

from towpath.chain.finding import Finding, LinkName, LinkState
from towpath.chain.observed import Chain, ObservedAccess
from towpath.chain.words import apply, error, state, unseen, warning
from towpath.errors import UsageError
from towpath.iam import arn as arns

ROLE_ARN: Final = "eks.amazonaws.com/role-arn"
AUDIENCE: Final = "eks.amazonaws.com/audience"
KIAM: Final = "iam.amazonaws.com/role"


def service_account(chain: Chain) -> LinkState:
    wanted, found = chain.wanted, chain.service_account
    if found is None:
        if "service account" in chain.unreadable:
            return unseen(chain, LinkName.SERVICE_ACCOUNT, "service account", "")
        finding = error(
            "service-account.missing",
            LinkName.SERVICE_ACCOUNT,
            f"there is no service account {wanted.service_account} in namespace {wanted.namespace}",
            evidence=f'serviceaccounts "{wanted.service_account}" not found',
            command=f"kubectl create serviceaccount {wanted.service_account} -n {wanted.namespace}",
            towpath=apply(wanted),
            row=53,
        )
        return state(LinkName.SERVICE_ACCOUNT, finding.evidence, [finding])
    findings = _annotation(chain, found.annotations)
    value = found.annotations.get(ROLE_ARN, "no role annotation")
    return state(LinkName.SERVICE_ACCOUNT, f"{found.namespace}/{found.name} ({found.backend}): {value}", findings)


def _annotation(chain: Chain, annotations: dict[str, str]) -> list[Finding]:
    wanted, value = chain.wanted, annotations.get(ROLE_ARN)
    kubectl = f"kubectl annotate serviceaccount {wanted.service_account} -n {wanted.namespace} --overwrite {ROLE_ARN}={chain.role_arn}"
    if value is None:
        near = [key for key in difflib.get_close_matches(ROLE_ARN, annotations, n=1, cutoff=0.75) if key != ROLE_ARN]
        if KIAM in annotations:
            near = [KIAM]
        if near:
            return [
                error(
                    "service-account.annotation-key",
                    LinkName.SERVICE_ACCOUNT,
                    f"the annotation {near[0]} is not the one that is read; it is {ROLE_ARN}",
                    evidence=f"{near[0]}: {annotations[near[0]]}",
                    command=f"{kubectl} {near[0]}-",
                    towpath=apply(wanted),
                    row=51,
                )
            ]
        return [
            error(
                "service-account.no-annotation",
                LinkName.SERVICE_ACCOUNT,
                "the service account names no role",
                evidence=f"annotations: {', '.join(sorted(annotations)) or 'none'}",
                command=kubectl,
                towpath=apply(wanted),
                row=53,
            )
        ]
    out: list[Finding] = []
    if value != chain.role_arn:
        out.append(
            error(
                "service-account.role-arn",
                LinkName.SERVICE_ACCOUNT,
                _wrong_arn(value, chain),
                evidence=f"{ROLE_ARN}: {value}",
                command=kubectl,
                towpath=apply(wanted),
                row=15,
            )
        )
    audience = annotations.get(AUDIENCE)
    if audience is not None and audience != wanted.audience:
        out.append(
            warning(
                "service-account.audience",
                LinkName.SERVICE_ACCOUNT,
                f"tokens are made for {audience}, not {wanted.audience}",
                evidence=f"{AUDIENCE}: {audience}",
                command=f"kubectl annotate serviceaccount {wanted.service_account} -n {wanted.namespace} {AUDIENCE}-",
                row=6,
            )
        )
    return out


def _wrong_arn(value: str, chain: Chain) -> str:
    try:
        found = arns.Arn.parse(value)
    except UsageError as bad:
        return bad.what
    if found.service != "iam" or found.resource_type != "role":
        return f"the annotation holds the ARN of {found.service} {found.resource_type or 'something'}, not of a role"
    expected = arns.Arn.parse(chain.role_arn)
    for part in ("partition", "account"):
        if getattr(found, part) != getattr(expected, part):
            return f"the annotation names a role of {part} {getattr(found, part)}; the role's {part} is {getattr(expected, part)}"
    return f"the annotation names {value}; the identity's role is {chain.role_arn}"


def injection(chain: Chain) -> LinkState:
    own = "the agent writes the token volume and the variables into each Job itself"
    return LinkState(link=LinkName.INJECTION, ok=True, evidence=f"{own}; {chain.webhook}" if chain.webhook else own)


# STS's code -> what it means, and the row in docs/failures.md. Most of what can go wrong is told better by another link.
_CODES: Final = {
    "InvalidIdentityToken": ("the token or its provider was rejected", 1),
    "IDPCommunicationError": ("STS could not reach the issuer", 8),
    "AccessDenied": ("the trust policy did not match", 16),
    "ExpiredTokenException": ("the token had expired when it was sent", 13),
    "ValidationError": ("STS rejected the request itself", 15),
    "RegionDisabledException": ("STS is not active in this region", 37),
}


def exchange(chain: Chain) -> LinkState:
    found = chain.exchange
    if found is None:
        return unseen(chain, LinkName.EXCHANGE, "exchange", "not tried")
    if found.ok:
        return state(LinkName.EXCHANGE, f"{found.subject} became {found.arn}")
    if found.issuer and chain.issuer is not None and found.issuer != chain.issuer.url:
        other = error(
            "exchange.other-issuer",
            LinkName.EXCHANGE,
            f"the token is not from this cluster: its iss is {found.issuer}, {chain.issuer.source} says {chain.issuer.url}",
            evidence=f"{found.code}: {found.message}",
            command=f"aws eks update-kubeconfig --name {chain.wanted.cluster} --region {chain.wanted.region}"
            if chain.wanted.eks
            else "use the kubeconfig of the cluster whose issuer that is, or give its issuer with --issuer",
            row=3,
        )
        return state(LinkName.EXCHANGE, f"{found.code}: {found.message}", [other])
    meaning, row = _CODES.get(found.code, ("the exchange failed", 16))
    findings = [
        error(
            "exchange.refused",
            LinkName.EXCHANGE,
            f"{meaning}: {found.message}",
            evidence=f"{found.code}; the token's iss {found.issuer}, sub {found.subject}, aud {', '.join(found.audiences)}",
            command="repair the links above, then try again; a change to a role can take some seconds to reach STS",
            towpath=f"towpath identity prove {apply(chain.wanted).removeprefix('towpath identity apply ')}",
            row=row,
        )
    ]
    return state(LinkName.EXCHANGE, f"{found.code}: {found.message}", findings)


def access(chain: Chain) -> LinkState:
    found = chain.access
    if found is None:
        return unseen(chain, LinkName.ACCESS, "access", "not tried")
    if not found:
        words = "not tried: none of these permissions can be tried without an effect"
        return LinkState(link=LinkName.ACCESS, ok=None, evidence=words)
    absent = {_bucket(probe): probe for probe in found if probe.code == "NoSuchBucket"}
    findings = [
        error(
            "access.no-bucket",
            LinkName.ACCESS,
            f"there is no bucket {bucket}",
            evidence=f"{probe.action}: {probe.code}: {probe.message}",
            command=f"aws s3 mb s3://{bucket} --region {chain.wanted.region}",
            row=46,
        )
        for bucket, probe in absent.items()
    ]
    findings += [
        error(
            "access.refused",
            LinkName.ACCESS,
            f"{probe.action} on {probe.resource} was refused",
            evidence=f"{probe.code}: {probe.message}",
            command=f"aws iam simulate-principal-policy --policy-source-arn {chain.role_arn} --action-names {probe.action}"
            f" --resource-arns {arns.bucket_arn(partition=chain.wanted.partition, bucket=_bucket(probe))}",
            row=46,
        )
        for probe in found
        if not probe.ok and probe.code != "NoSuchBucket"
    ]
    good = [f"{probe.action} on {probe.resource}" for probe in found if probe.ok]
    return state(
        LinkName.ACCESS,
        "; ".join(good) or ("nothing was allowed" if len(absent) < len(findings) else "no bucket"),
        findings,
    )


def _bucket(probe: ObservedAccess) -> str:
    return probe.resource.removeprefix("s3://").partition("/")[0]
