"""The changes between what is wanted and what was seen. Pure: an empty plan means there is nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from towpath.chain.finding import Value
from towpath.chain.links_aws import same_document
from towpath.chain.links_kubernetes import ROLE_ARN
from towpath.chain.observed import Chain, ObservedPolicy, ObservedServiceAccount
from towpath.errors import UsageError, WorldError
from towpath.iam import arn as arns
from towpath.iam import build, quota
from towpath.kubernetes.connection import FIELD_MANAGER

OWNER_TAG: Final = "towpath:owner"


class Kind(StrEnum):
    CREATE_PROVIDER = "create provider"
    ADD_CLIENT_ID = "add client id"
    CREATE_POLICY = "create policy"
    UPDATE_POLICY = "update policy"
    CREATE_ROLE = "create role"
    UPDATE_ROLE = "update role"
    UPDATE_TRUST = "update trust policy"
    ATTACH_POLICY = "attach policy"
    ANNOTATE = "annotate service account"
    # destroy's
    DETACH_POLICY = "detach policy"
    DELETE_POLICY = "delete policy"
    DELETE_ROLE = "delete role"
    DELETE_PROVIDER = "delete provider"
    DELETE_SERVICE_ACCOUNT = "delete service account"


# Changes of one stage do not depend on each other and are made side by side; a stage begins when the one before is done.
STAGES: Final = {
    Kind.CREATE_PROVIDER: 0,
    Kind.ADD_CLIENT_ID: 0,
    Kind.CREATE_POLICY: 0,
    Kind.UPDATE_POLICY: 0,
    Kind.CREATE_ROLE: 0,
    Kind.UPDATE_ROLE: 0,
    Kind.UPDATE_TRUST: 1,  # beside the role's other changes IAM would answer ConcurrentModification
    Kind.ATTACH_POLICY: 2,
    Kind.ANNOTATE: 2,
    Kind.DETACH_POLICY: 3,
    Kind.DELETE_SERVICE_ACCOUNT: 3,
    Kind.DELETE_POLICY: 4,
    Kind.DELETE_ROLE: 4,
    Kind.DELETE_PROVIDER: 5,
}


class Change(Value):
    """One change: what, to which thing (an ARN or a name), and its value before and after."""

    kind: Kind
    target: str
    before: Any = None
    after: Any = None
    note: str = ""


def plan(chain: Chain, *, remove_bootstrap_trust: bool = False) -> tuple[Change, ...]:
    """What `apply` would do, in its order. Raises UsageError over a quota, WorldError where a part could not be read."""
    for part in ("issuer", "provider", "role", "permissions", "service account"):
        if part in chain.unreadable:
            raise WorldError(
                f"the {part} {chain.unreadable[part]}",
                where=chain.wanted.owner,
                todo="a plan made without it could be wrong: allow the call and run the same command again",
            )
    if chain.issuer is None:
        raise WorldError(
            f"the cluster {chain.wanted.cluster} has no OIDC issuer",
            where="eks:DescribeCluster",
            todo="IAM roles for service accounts need EKS 1.14 or later",
        )
    changes = [
        *_provider(chain),
        *_policies(chain),
        *_role(chain, remove_bootstrap_trust=remove_bootstrap_trust),
        *_service_account(chain),
    ]
    return tuple(sorted(changes, key=lambda change: STAGES[change.kind]))


def _provider(chain: Chain) -> list[Change]:
    wanted, found = chain.wanted, chain.provider
    if found is None:
        return [
            Change(
                kind=Kind.CREATE_PROVIDER,
                target=chain.provider_arn,
                after={"url": chain.issuer.url if chain.issuer else "", "clientIds": [wanted.audience]},
            )
        ]
    if wanted.audience not in found.client_ids:
        return [
            Change(
                kind=Kind.ADD_CLIENT_ID,
                target=found.arn,
                before=list(found.client_ids),
                after=[*found.client_ids, wanted.audience],
            )
        ]
    return []


def _policies(chain: Chain) -> list[Change]:
    wanted, limits = chain.wanted, chain.limits()
    attached: tuple[ObservedPolicy, ...] = chain.role.attached if chain.role is not None else ()
    held = {policy.arn for policy in attached}
    out: list[Change] = []
    attach: list[str] = []
    for policy in wanted.policies:
        # A policy somebody made by hand that says the same is adopted: a second one would only take up an attachment.
        if any(same_document(item, policy.document) for item in attached):
            continue
        quota.check_managed_policy(policy.document, limits, name=policy.name)
        arn = str(arns.policy_arn(partition=wanted.partition, account=chain.account, name=policy.name))
        existing = next((item for item in chain.policies if item.arn == arn), None)
        if existing is None:
            out.append(Change(kind=Kind.CREATE_POLICY, target=arn, after=policy.document))
        elif not same_document(existing, policy.document):
            _ours_or_refuse(existing, wanted.owner)
            out.append(Change(kind=Kind.UPDATE_POLICY, target=arn, before=existing.document, after=policy.document))
        if arn not in held:
            attach.append(arn)
    attach += [arn for arn in wanted.policy_arns if arn not in held]
    quota.check_attachments(len(held) + len(attach), limits, role=wanted.role_name)
    return [*out, *(Change(kind=Kind.ATTACH_POLICY, target=wanted.role_name, after=arn) for arn in attach)]


def _ours_or_refuse(policy: ObservedPolicy, owner: str) -> None:
    found = policy.tags.get(OWNER_TAG)
    if found != owner:
        whose = f"it belongs to {found}" if found else "towpath did not make it"
        raise UsageError(
            f"the policy {policy.name} exists and grants something else; {whose}, so it is not overwritten",
            where=policy.arn,
            todo="give your policy file another name, or attach that policy as it is with --policy-arn",
        )


def _role(chain: Chain, *, remove_bootstrap_trust: bool) -> list[Change]:
    wanted, found = chain.wanted, chain.role
    statement = our_statement(chain)
    if found is None:
        trust = build.policy([statement])
        quota.check_trust_policy(trust, chain.limits(), role=wanted.role_name)
        after = {
            "path": wanted.role_path,
            "trust": trust,
            "maxSession": wanted.max_session,
            "permissionsBoundary": wanted.permissions_boundary,
        }
        return [
            Change(
                kind=Kind.CREATE_ROLE,
                target=chain.role_arn,
                after={key: value for key, value in after.items() if value is not None},
            )
        ]
    if wanted.role_path not in {"/", found.path}:
        raise UsageError(
            f"the role {found.name} exists with the path {found.path}, and a role's path cannot be changed",
            where=found.arn,
            todo="leave the path out, or choose another name",
        )
    out: list[Change] = []
    trust = build.merge_statement(found.trust, statement)
    if remove_bootstrap_trust:
        trust = build.remove_statements(trust, build.is_bootstrap_statement) or trust
    if trust != found.trust:
        quota.check_trust_policy(trust, chain.limits(), role=found.name)
        out.append(Change(kind=Kind.UPDATE_TRUST, target=found.name, before=found.trust, after=trust))
    if wanted.max_session is not None and wanted.max_session != found.max_session:
        out.append(
            Change(
                kind=Kind.UPDATE_ROLE,
                target=found.name,
                before={"maxSession": found.max_session},
                after={"maxSession": wanted.max_session},
            )
        )
    if wanted.permissions_boundary is not None and wanted.permissions_boundary != found.boundary:
        out.append(
            Change(
                kind=Kind.UPDATE_ROLE,
                target=found.name,
                before={"permissionsBoundary": found.boundary},
                after={"permissionsBoundary": wanted.permissions_boundary},
            )
        )
    return out


def our_statement(chain: Chain) -> Mapping[str, Any]:
    """The trust statement of this identity."""
    wanted = chain.wanted
    return build.web_identity_statement(
        sid=wanted.sid,
        provider_arn=chain.provider_arn,
        issuer=chain.issuer.url if chain.issuer is not None else "",
        subjects=[wanted.subject],
        audience=wanted.audience,
        wildcard=wanted.wildcard,
    )


def _service_account(chain: Chain) -> list[Change]:
    wanted, found = chain.wanted, chain.service_account
    if wanted.wildcard:
        return []
    after = {ROLE_ARN: chain.role_arn, **wanted.annotations}
    held = found.annotations if found is not None else {}
    if all(held.get(key) == value for key, value in after.items()):
        return []
    return [
        Change(
            kind=Kind.ANNOTATE,
            target=f"{wanted.namespace}/{wanted.service_account}",
            before={key: held[key] for key in after if key in held} or None,
            after=after,
            note=_note(found, after),
        )
    ]


def _note(found: ObservedServiceAccount | None, after: Mapping[str, str]) -> str:
    """What to know of this service account before its annotations are changed: who else looks after it."""
    if found is None:
        return "the service account is created"
    if found.helm_release is not None:
        namespace, release = found.helm_release
        values = ", ".join(f"{key}: {value}" for key, value in after.items())
        return (
            f"it belongs to the Helm release {release} in namespace {namespace}: its next upgrade keeps this when its values "
            f"say so; in Fivetran's chart that is config.sa_annotations: {{{values}}}"
        )
    others = {
        found.owners[key]
        for key in after
        if found.annotations.get(key) not in {None, after[key]} and key in found.owners
    }
    others.discard(FIELD_MANAGER)
    return f"last set by {', '.join(sorted(others))}" if others else ""
