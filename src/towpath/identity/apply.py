"""Changes made: stage by stage, side by side within a stage, each of them safe to make again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, Final

from towpath.chain.observed import Chain
from towpath.errors import WorldError
from towpath.iam import build
from towpath.identity.aws import Exists, Missing
from towpath.identity.plan import OWNER_TAG, STAGES, Change, Kind
from towpath.identity.record import Record
from towpath.identity.world import World

VERSIONS: Final = 5  # of one managed policy; IAM keeps no more

Progress = Callable[[Change], None]


def apply(
    changes: Sequence[Change], chain: Chain, world: World, record: Record, *, progress: Progress | None = None
) -> None:
    """Make every change. Raises the first error of a stage after its other changes are done; the same call then goes on from there."""
    actor = _Actor(chain, world, record)
    for _, stage in groupby(
        sorted(changes, key=lambda change: STAGES[change.kind]), key=lambda change: STAGES[change.kind]
    ):
        _together(list(stage), actor, progress)


def _together(stage: list[Change], actor: _Actor, progress: Progress | None) -> None:
    def make(change: Change) -> None:
        actor.make(change)
        if progress is not None:
            progress(change)

    # Two changes of one role go one after another: IAM refuses them at once.
    groups: dict[str, list[Change]] = {}
    for change in stage:
        groups.setdefault(change.target, []).append(change)
    if len(groups) == 1:
        _each(make, stage)
        return
    with ThreadPoolExecutor(max_workers=min(8, len(groups)), thread_name_prefix="apply") as pool:
        futures = [pool.submit(_each, make, group) for group in groups.values()]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]


def _each(make: Callable[[Change], None], changes: Iterable[Change]) -> None:
    for change in changes:
        make(change)


class _Actor:
    def __init__(self, chain: Chain, world: World, record: Record) -> None:
        self._chain = chain
        self._world = world
        self._record = record
        self._tags = [{"Key": OWNER_TAG, "Value": chain.wanted.owner}]
        self._methods: dict[Kind, Callable[[Change], None]] = {
            Kind.CREATE_PROVIDER: self._create_provider,
            Kind.ADD_CLIENT_ID: self._add_client_id,
            Kind.CREATE_POLICY: self._create_policy,
            Kind.UPDATE_POLICY: self._update_policy,
            Kind.CREATE_ROLE: self._create_role,
            Kind.UPDATE_ROLE: self._update_role,
            Kind.UPDATE_TRUST: self._update_trust,
            Kind.ATTACH_POLICY: self._attach,
            Kind.ANNOTATE: self._annotate,
            Kind.DETACH_POLICY: self._detach,
            Kind.DELETE_POLICY: self._delete_policy,
            Kind.DELETE_ROLE: self._delete_role,
            Kind.DELETE_PROVIDER: self._delete_provider,
            Kind.DELETE_SERVICE_ACCOUNT: self._delete_service_account,
        }

    def make(self, change: Change) -> None:
        self._methods[change.kind](change)

    def _iam(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._world.aws.write("iam", operation, **arguments)

    def _create(self, operation: str, target: str, **arguments: Any) -> None:
        try:
            self._iam(operation, Tags=self._tags, **arguments)
        except Exists as error:
            raise WorldError(
                f"{target} has been made by somebody else in the meantime: {error.what}",
                where=target,
                todo="run the same command again: it looks anew",
            ) from None

    def _create_provider(self, change: Change) -> None:
        try:
            self._iam(
                "create_open_id_connect_provider",
                Url=change.after["url"],
                ClientIDList=change.after["clientIds"],
                Tags=self._tags,
            )
        except Exists:
            # Another identity of this cluster was quicker; the provider is one and the same for both.
            self._iam(
                "add_client_id_to_open_id_connect_provider",
                OpenIDConnectProviderArn=change.target,
                ClientID=change.after["clientIds"][0],
            )

    def _add_client_id(self, change: Change) -> None:
        for client_id in change.after:
            if client_id not in (change.before or ()):
                self._iam(
                    "add_client_id_to_open_id_connect_provider",
                    OpenIDConnectProviderArn=change.target,
                    ClientID=client_id,
                )

    def _create_policy(self, change: Change) -> None:
        self._create(
            "create_policy",
            change.target,
            PolicyName=change.target.rpartition("/")[2],
            PolicyDocument=_text(change.after),
        )

    def _update_policy(self, change: Change) -> None:
        versions = self._world.aws.pages("iam", "list_policy_versions", "Versions", PolicyArn=change.target)
        if len(versions) >= VERSIONS:
            oldest = min(
                (item for item in versions if not item["IsDefaultVersion"]), key=lambda item: item["CreateDate"]
            )
            self._iam("delete_policy_version", PolicyArn=change.target, VersionId=oldest["VersionId"])
        self._iam(
            "create_policy_version", PolicyArn=change.target, PolicyDocument=_text(change.after), SetAsDefault=True
        )

    def _create_role(self, change: Change) -> None:
        found: Mapping[str, Any] = change.after
        optional = {
            "MaxSessionDuration": found.get("maxSession"),
            "PermissionsBoundary": found.get("permissionsBoundary"),
        }
        self._create(
            "create_role",
            change.target,
            RoleName=self._chain.wanted.role_name,
            Path=found["path"],
            AssumeRolePolicyDocument=_text(found["trust"]),
            **{key: value for key, value in optional.items() if value is not None},
        )

    def _update_role(self, change: Change) -> None:
        if "maxSession" in change.after:
            self._iam("update_role", RoleName=change.target, MaxSessionDuration=change.after["maxSession"])
        if "permissionsBoundary" in change.after:
            self._iam(
                "put_role_permissions_boundary",
                RoleName=change.target,
                PermissionsBoundary=change.after["permissionsBoundary"],
            )

    def _update_trust(self, change: Change) -> None:
        # Between looking and writing somebody may have edited it: what they wrote must not be lost.
        from towpath.identity.observe import read_trust

        if read_trust(self._world.aws, change.target) != change.before:
            raise WorldError(
                f"the trust policy of {change.target} was edited while this ran",
                where=f"role {change.target}",
                todo="run the same command again: it looks anew",
            )
        kept = build.statements_of(change.after)
        gone = [
            dict(item)
            for item in build.statements_of(change.before)
            if item not in kept and build.is_bootstrap_statement(item)
        ]
        if gone:
            self._record.removing(gone)
        self._iam("update_assume_role_policy", RoleName=change.target, PolicyDocument=_text(change.after))

    def _attach(self, change: Change) -> None:
        self._record.attaching(change.target, change.after)
        self._iam("attach_role_policy", RoleName=change.target, PolicyArn=change.after)

    def _annotate(self, change: Change) -> None:
        namespace, _, name = change.target.partition("/")
        if self._world.aws.before_write is not None:
            self._world.aws.before_write("annotate_service_account")
        before = dict.fromkeys(change.before or {}, None)
        self._world.service_accounts().annotate(namespace, name, {**before, **(change.after or {})})

    def _detach(self, change: Change) -> None:
        self._gone("detach_role_policy", RoleName=change.target, PolicyArn=change.before)
        self._record.detached(change.target, change.before)

    def _delete_policy(self, change: Change) -> None:
        try:
            versions = self._world.aws.pages("iam", "list_policy_versions", "Versions", PolicyArn=change.target)
        except Missing:
            return
        for version in versions:
            if not version["IsDefaultVersion"]:
                self._gone("delete_policy_version", PolicyArn=change.target, VersionId=version["VersionId"])
        self._gone("delete_policy", PolicyArn=change.target)

    def _delete_role(self, change: Change) -> None:
        self._gone("delete_role", RoleName=change.target)

    def _delete_provider(self, change: Change) -> None:
        self._gone("delete_open_id_connect_provider", OpenIDConnectProviderArn=change.target)

    def _delete_service_account(self, change: Change) -> None:
        namespace, _, name = change.target.partition("/")
        self._world.service_accounts().delete(namespace, name)

    def _gone(self, operation: str, **arguments: Any) -> None:
        try:
            self._iam(operation, **arguments)
        except Missing:
            return  # what is to be removed is not there: that is what was wanted


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
