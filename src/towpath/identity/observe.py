"""One concurrent pass over EKS, IAM, the issuer and the cluster: everything else reads the value it gives.

What a permission hides is noted as unreadable and the rest is read all the same; a cluster that does not exist, or
credentials that are none, end the pass: nothing could be said.
"""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from towpath.chain.observed import (
    Chain,
    ObservedIssuer,
    ObservedPolicy,
    ObservedProvider,
    ObservedRole,
    ObservedServiceAccount,
    Wanted,
    WantedPolicy,
)
from towpath.errors import MissingPermissionError, WorldError
from towpath.iam import arn as arns
from towpath.identity.aws import Aws, Missing
from towpath.identity.world import World
from towpath.oidc.fetch import Fetcher, mappings_from_environment

T = TypeVar("T")


def observe(wanted: Wanted, world: World, *, discovery: bool = True) -> Chain:
    """What there is of this identity. `discovery` also fetches the issuer's public documents, as STS will.

    Raises WorldError when nothing could be observed at all.
    """
    aws = world.aws
    unreadable: dict[str, str] = {}

    def part(name: str, future: Future[T]) -> T | None:
        try:
            return future.result()
        except MissingPermissionError as hidden:
            unreadable[name] = f"cannot be read: {hidden.what}"
        return None

    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="observe") as pool:
        account = pool.submit(_account, aws)
        issuer = pool.submit(_issuer, wanted, world, discovery=discovery)
        role = pool.submit(_role, aws, wanted.role_name)
        attached = pool.submit(_attached, aws, wanted.role_name)
        inline = pool.submit(_inline, aws, wanted.role_name)
        quotas = pool.submit(lambda: cast("dict[str, int]", aws.read("iam", "get_account_summary")["SummaryMap"]))
        providers = pool.submit(
            lambda: [
                str(item["Arn"])
                for item in aws.read("iam", "list_open_id_connect_providers")["OpenIDConnectProviderList"]
            ]
        )
        accounts = pool.submit(_service_account, wanted, world)
        webhook = pool.submit(_webhook, wanted, world) if discovery else None
        number = account.result()
        named = pool.submit(_named, aws, wanted, number)

        seen_issuer = part("issuer", issuer)
        arns_of_providers = part("provider", providers) or []
        provider = (
            part("provider", pool.submit(_provider, aws, wanted, number, seen_issuer, arns_of_providers))
            if seen_issuer
            else None
        )
        seen_role = part("role", role)
        seen_attached, seen_inline = part("permissions", attached), part("permissions", inline)
        policies = part("permissions", named) or ()
        if seen_role is not None:
            seen_role = seen_role.model_copy(update={"attached": seen_attached or (), "inline": seen_inline or ()})
        try:
            service_account = part("service account", accounts)
        except WorldError as unreachable:
            unreadable["service account"], service_account = f"cannot be read: {unreachable}", None
        return Chain(
            wanted=wanted,
            account=number,
            issuer=seen_issuer,
            provider=provider,
            other_providers=tuple(arn for arn in arns_of_providers if provider is None or arn != provider.arn),
            role=seen_role,
            policies=policies,
            quotas=part("quotas", quotas) or {},
            service_account=service_account,
            webhook=webhook.result() if webhook is not None else "",
            unreadable={name: why for name, why in unreadable.items() if name != "quotas"},
        )


def _account(aws: Aws) -> str:
    return str(aws.read("sts", "get_caller_identity")["Account"])


def _issuer(wanted: Wanted, world: World, *, discovery: bool) -> ObservedIssuer | None:
    if wanted.eks:
        try:
            cluster = world.aws.read("eks", "describe_cluster", name=wanted.cluster)["cluster"]
        except Missing:
            raise WorldError(
                f"there is no EKS cluster {wanted.cluster} in {wanted.region}",
                where=f"eks:DescribeCluster {wanted.cluster}",
                todo=f"check the name and the region: aws eks list-clusters --region {wanted.region}",
            ) from None
        url, source = cluster.get("identity", {}).get("oidc", {}).get("issuer"), "eks:DescribeCluster"
        if not url:
            return None
    elif wanted.issuer_url:
        url, source = wanted.issuer_url, "manifest"
    else:
        url, source = world.service_accounts().issuer(), "the API server"
    return _documents(str(url), source, world) if discovery else ObservedIssuer(url=url, source=source)


def _documents(url: str, source: str, world: World) -> ObservedIssuer:
    from towpath.oidc.discovery import discover
    from towpath.oidc.errors import IssuerUnreachable, TokenError

    fetcher = Fetcher(mappings_from_environment(world.environ))
    try:
        keys = fetcher.get_json(discover(url, fetcher).jwks_uri).get("keys", [])
    except (IssuerUnreachable, TokenError) as problem:
        return ObservedIssuer(url=url, source=source, discovery=False, problem=str(problem))
    kids = tuple(str(key.get("kid", "")) for key in keys if isinstance(key, dict)) if isinstance(keys, list) else ()
    return ObservedIssuer(url=url, source=source, discovery=True, keys=kids)


def _provider(
    aws: Aws, wanted: Wanted, account: str, issuer: ObservedIssuer, known: list[str]
) -> ObservedProvider | None:
    arn = str(arns.provider_arn(partition=wanted.partition, account=account, issuer=issuer.url))
    if arn not in known:
        return None
    found = aws.read("iam", "get_open_id_connect_provider", OpenIDConnectProviderArn=arn)
    return ObservedProvider(arn=arn, url=issuer.url, client_ids=tuple(found.get("ClientIDList", ())), tags=_tags(found))


def _role(aws: Aws, name: str) -> ObservedRole | None:
    try:
        role = aws.read("iam", "get_role", RoleName=name)["Role"]
    except Missing:
        return None
    return ObservedRole(
        arn=role["Arn"],
        name=role["RoleName"],
        path=role.get("Path", "/"),
        max_session=int(role.get("MaxSessionDuration", 3600)),
        trust=as_document(role["AssumeRolePolicyDocument"]),
        created=str(role.get("CreateDate", "")),
        tags=_tags(role),
        boundary=role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
    )


def read_trust(aws: Aws, role: str) -> dict[str, Any]:
    """The role's trust policy as it stands now."""
    return as_document(aws.read("iam", "get_role", RoleName=role)["Role"]["AssumeRolePolicyDocument"])


def _attached(aws: Aws, role: str) -> tuple[ObservedPolicy, ...]:
    try:
        found = aws.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role)
    except Missing:
        return ()
    return tuple(
        _policy(aws, str(item["PolicyArn"])) or ObservedPolicy(arn=item["PolicyArn"], name=item["PolicyName"])
        for item in found
    )


def _inline(aws: Aws, role: str) -> tuple[WantedPolicy, ...]:
    try:
        names = aws.pages("iam", "list_role_policies", "PolicyNames", RoleName=role)
    except Missing:
        return ()
    return tuple(
        WantedPolicy(
            name=name,
            document=as_document(aws.read("iam", "get_role_policy", RoleName=role, PolicyName=name)["PolicyDocument"]),
        )
        for name in names
    )


def _named(aws: Aws, wanted: Wanted, account: str) -> tuple[ObservedPolicy, ...]:
    """The customer-managed policies that would be ours by name, attached or not."""
    found = (
        _policy(aws, str(arns.policy_arn(partition=wanted.partition, account=account, name=policy.name)))
        for policy in wanted.policies
    )
    return tuple(policy for policy in found if policy is not None)


def _policy(aws: Aws, arn: str) -> ObservedPolicy | None:
    if arns.Arn.parse(arn).account == "aws":
        return ObservedPolicy(arn=arn, name=arn.rpartition("/")[2])
    try:
        policy = aws.read("iam", "get_policy", PolicyArn=arn)["Policy"]
        version = aws.read("iam", "get_policy_version", PolicyArn=arn, VersionId=policy["DefaultVersionId"])[
            "PolicyVersion"
        ]
    except Missing:
        return None
    return ObservedPolicy(
        arn=arn,
        name=policy["PolicyName"],
        document=as_document(version["Document"]),
        tags=_tags(policy),
        attachments=int(policy.get("AttachmentCount", 0)),
    )


def _service_account(wanted: Wanted, world: World) -> ObservedServiceAccount | None:
    return world.service_accounts().get(wanted.namespace, wanted.service_account)


def _webhook(wanted: Wanted, world: World) -> str:
    try:
        return world.service_accounts().injection(wanted.namespace, wanted.service_account)
    except WorldError:
        return ""  # no way to the cluster: the service account's link says so


def _tags(found: dict[str, Any]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in found.get("Tags", ())}


def as_document(value: Any) -> dict[str, Any]:
    """Botocore decodes policy documents of most operations; a text that is left is URL-encoded JSON (IAM API reference)."""
    return cast("dict[str, Any]", json.loads(unquote(value)) if isinstance(value, str) else value)
