"""Undoing an identity: only what towpath made or attached, and only what nobody else uses. The plan is pure.

Ownership is told by the tag `towpath:owner` on what was made and by the local record of what was attached.
"""

from __future__ import annotations

from typing import Any

from towpath.chain import reading
from towpath.chain.links_kubernetes import ROLE_ARN
from towpath.chain.observed import Chain
from towpath.iam import build
from towpath.identity.aws import Aws
from towpath.identity.observe import as_document
from towpath.identity.plan import OWNER_TAG, STAGES, Change, Kind
from towpath.identity.record import Record
from towpath.identity.service_accounts import MANAGED_BY
from towpath.kubernetes.connection import FIELD_MANAGER


def plan_destroy(
    chain: Chain, record: Record, *, trusted_by: tuple[str, ...]
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """The changes, and the sentences about what is left and why. `trusted_by`: every role that trusts the provider."""
    changes: list[Change] = []
    kept: list[str] = []
    _role(chain, record, changes, kept)
    _policies(chain, changes, kept)
    _provider(chain, trusted_by, changes, kept)
    _service_account(chain, changes, kept)
    return tuple(sorted(changes, key=lambda change: STAGES[change.kind])), tuple(kept)


def roles_trusting(aws: Aws, provider_arn: str) -> tuple[str, ...]:
    """Every role of the account whose trust policy names the provider."""
    roles = aws.pages("iam", "list_roles", "Roles")
    found = [(role["RoleName"], as_document(role["AssumeRolePolicyDocument"])) for role in roles]
    return tuple(
        name
        for name, trust in found
        if any(provider_arn in reading.federated(item) for item in build.statements_of(trust))
    )


def _role(chain: Chain, record: Record, changes: list[Change], kept: list[str]) -> None:
    """The role goes when it is ours, nobody else's statement trusts through it, and nothing else hangs on it."""
    role, wanted = chain.role, chain.wanted
    if role is None:
        return
    ours = {policy for name, policy in record.attached if name == role.name}
    ours |= {policy.arn for policy in role.attached if policy.tags.get(OWNER_TAG) == wanted.owner}
    detach = [policy for policy in role.attached if policy.arn in ours]
    others = [item for item in build.statements_of(role.trust) if item.get("Sid") != wanted.sid]
    rest = [policy.arn for policy in role.attached if policy.arn not in ours] + [
        f"inline {policy.name}" for policy in role.inline
    ]
    changes += [Change(kind=Kind.DETACH_POLICY, target=role.name, before=policy.arn) for policy in detach]
    if role.tags.get(OWNER_TAG) == wanted.owner and not others and not rest:
        changes.append(Change(kind=Kind.DELETE_ROLE, target=role.name, before={"arn": role.arn, "trust": role.trust}))
        return
    after = build.remove_statement(role.trust, wanted.sid)
    for statement in record.removed_statements:
        after = {**(after or {"Version": build.VERSION}), "Statement": [statement, *build.statements_of(after)]}
    if after is None:
        kept.append(
            f"role {role.name}: ours is the only statement of its trust policy, and IAM allows none without; delete the role, or give it another statement first"
        )
    elif after != role.trust:
        changes.append(Change(kind=Kind.UPDATE_TRUST, target=role.name, before=role.trust, after=after))
    if role.tags.get(OWNER_TAG) != wanted.owner:
        kept.append(f"role {role.name}: towpath did not make it")
    elif others or rest:
        kept.append(
            f"role {role.name}: others use it ({', '.join([*rest, *(str(item.get('Sid', 'a trust statement')) for item in others)])})"
        )


def _policies(chain: Chain, changes: list[Change], kept: list[str]) -> None:
    detached = {change.before for change in changes if change.kind is Kind.DETACH_POLICY}
    attached = {policy.arn: policy for policy in (chain.role.attached if chain.role is not None else ())}
    candidates = {policy.arn: policy for policy in (*attached.values(), *chain.policies)}
    for arn, policy in candidates.items():
        if policy.tags.get(OWNER_TAG) != chain.wanted.owner:
            continue
        elsewhere = policy.attachments - (1 if arn in detached else 0)
        if elsewhere > 0:
            kept.append(f"policy {policy.name}: attached in {elsewhere} other place{'s' if elsewhere > 1 else ''}")
        else:
            changes.append(Change(kind=Kind.DELETE_POLICY, target=arn, before=policy.document))


def _provider(chain: Chain, trusted_by: tuple[str, ...], changes: list[Change], kept: list[str]) -> None:
    provider = chain.provider
    if provider is None or OWNER_TAG not in provider.tags:
        if provider is not None:
            kept.append(f"provider {provider.url}: towpath did not make it")
        return
    leaving = {change.target for change in changes if change.kind is Kind.DELETE_ROLE}
    leaving |= {
        change.target
        for change in changes
        if change.kind is Kind.UPDATE_TRUST and not _trusts(change.after, provider.arn)
    }
    others = [name for name in trusted_by if name not in leaving]
    if others:
        kept.append(
            f"provider {provider.url}: trusted by {', '.join(others[:5])}{' and others' if len(others) > 5 else ''}"
        )
    else:
        changes.append(
            Change(
                kind=Kind.DELETE_PROVIDER,
                target=provider.arn,
                before={"url": provider.url, "clientIds": list(provider.client_ids)},
            )
        )


def _trusts(document: dict[str, Any] | None, provider_arn: str) -> bool:
    return any(provider_arn in reading.federated(item) for item in build.statements_of(document))


def _service_account(chain: Chain, changes: list[Change], kept: list[str]) -> None:
    found = chain.service_account
    if found is None:
        return
    target = f"{found.namespace}/{found.name}"
    if found.annotations.get(ROLE_ARN) != chain.role_arn:
        kept.append(f"service account {target}: it names another role, or none")
        return
    if found.labels.get(MANAGED_BY) == FIELD_MANAGER:
        changes.append(
            Change(kind=Kind.DELETE_SERVICE_ACCOUNT, target=target, before={"annotations": found.annotations})
        )
    else:
        changes.append(
            Change(
                kind=Kind.ANNOTATE,
                target=target,
                before={
                    key: found.annotations[key]
                    for key in (ROLE_ARN, *chain.wanted.annotations)
                    if key in found.annotations
                },
            )
        )
        kept.append(f"service account {target}: towpath did not make it; only its annotation goes")
