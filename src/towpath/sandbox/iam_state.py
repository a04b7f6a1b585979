"""What IAM holds, as the gate's decisions need it: read through the emulator's public API, kept until a write passes.

Documents are parsed and compiled once and then serve every decision until the next IAM write in that account.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from towpath.iam.decide import NamedPolicy
from towpath.iam.policy import PolicyDocument, PolicyKind, parse_policy
from towpath.sandbox import unique_ids
from towpath.sandbox.backend import Backend

_NAME: Final = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)  # what could be the name of a role or a user at all

# The region that signs IAM's calls, by partition ("Managing AWS Regions", IAM endpoints in the AWS General Reference).
IAM_REGIONS: Final = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Role:
    arn: str
    name: str
    role_id: str
    max_session: int  # seconds
    trust: PolicyDocument
    policies: tuple[NamedPolicy, ...]
    boundary: NamedPolicy | None
    boundary_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class User:
    arn: str
    name: str
    user_id: str
    policies: tuple[NamedPolicy, ...]
    boundary: NamedPolicy | None
    boundary_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Provider:
    arn: str
    url: str  # with https://
    client_ids: tuple[str, ...]


class IamState:
    """Roles, users and providers of every account. Thread-safe; every write of an account goes through `writing(account)`."""

    def __init__(self, backend: Backend, *, partition: str) -> None:
        self._backend = backend
        self.partition = partition
        self.region: str = IAM_REGIONS[partition]
        self._lock = threading.RLock()
        self._clients: dict[str, Any] = {}
        self._writers: dict[str, threading.RLock] = {}
        self._generation: dict[str, int] = {}
        self._cache: dict[tuple[str, int, str, str], Any] = {}

    @contextmanager
    def writing(self, account: str) -> Generator[None]:
        """Around one IAM write: writes of one account go one after another, and what was read before is read anew.

        A check ("is the name taken?") and its write are one step, or two creators could both pass the check.
        """
        with self.reading(account):
            try:
                yield
            finally:
                self._changed(account)

    @contextmanager
    def reading(self, account: str) -> Generator[None]:
        """Around reads that belong together: no write of the account comes between them.

        Without it a provider could be listed and gone when it is looked at, or be absent while a write makes it anew. Order of locks:
        the backend's `together`, then this one, then the emulator's own.
        """
        with self._lock:
            lock = self._writers.setdefault(account, threading.RLock())
        with lock:
            yield

    def clear(self) -> None:
        """Everything is another now: read all of it anew."""
        with self._lock:
            accounts = {key[0] for key in self._cache} | self._generation.keys()
        for account in accounts:
            self._changed(account)

    def _changed(self, account: str) -> None:
        with self._lock:
            self._generation[account] = self._generation.get(account, 0) + 1
            self._cache = {key: value for key, value in self._cache.items() if key[0] != account}

    def role(self, account: str, name: str) -> Role | None:
        if not _NAME.fullmatch(name):
            return None
        return self._cached(account, "role", name, lambda: self._read_role(account, name))

    def user(self, account: str, name: str) -> User | None:
        if not _NAME.fullmatch(name):
            return None
        return self._cached(account, "user", name, lambda: self._read_user(account, name))

    def providers(self, account: str) -> dict[str, Provider]:
        """By URL."""
        return self._cached(account, "providers", "", lambda: self._read_providers(account))

    def role_names(self, account: str) -> dict[str, str]:
        """Lower-case name -> ARN: IAM compares names without case when it creates."""
        return self._cached(account, "names", "", lambda: self._read_role_names(account))

    def policy_arns(self, account: str) -> frozenset[str]:
        return self._cached(account, "policies", "", lambda: self._read_policy_arns(account))

    def arn_of(self, account: str, kind: str, name: str) -> str | None:
        """Of a "group" or an "instance_profile" by its name; their paths are part of their ARNs."""
        return self._cached(account, kind, name, lambda: self._read_arn(account, kind, name))

    def managed_policy(self, account: str, arn: str) -> NamedPolicy | None:
        """A managed policy's default version; the account's own and AWS's only. None when there is none."""
        if arn.split(":")[4:5] not in ([account], ["aws"]):
            return None
        return self._cached(account, "policy", arn, lambda: self._read_managed(account, arn))

    def _cached(self, account: str, kind: str, name: str, read: Callable[[], T]) -> T:
        with self._lock:
            generation = self._generation.get(account, 0)
            key = (account, generation, kind, name)
            if key in self._cache:
                return cast("T", self._cache[key])
        with self.reading(account):
            value = read()
        with self._lock:
            # A write may have passed while we read; then the value serves this one decision and is not kept.
            # What is not there is not kept either: names are anybody's to ask for.
            if value is not None and self._generation.get(account, 0) == generation:
                self._cache[key] = value
        return value

    def accounts(self) -> list[str]:
        """Those whose IAM was ever asked or written."""
        with self._lock:
            return sorted(self._clients)

    def used(self, account: str) -> bool:
        with self._lock:
            return account in self._clients

    def client(self, account: str) -> Any:
        """A client of the emulator's IAM in that account."""
        with self._lock:
            if account not in self._clients:
                self._clients[account] = self._backend.client("iam", account=account, region=self.region)
            return self._clients[account]

    def _read_role(self, account: str, name: str) -> Role | None:
        iam = self.client(account)
        try:
            role = iam.get_role(RoleName=name)["Role"]
        except iam.exceptions.NoSuchEntityException:
            return None
        policies = [
            *(
                self._managed(iam, item["PolicyArn"])
                for item in _pages(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=name)
            ),
            *(
                _named(policy, iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"], inline=True)
                for policy in _pages(iam, "list_role_policies", "PolicyNames", RoleName=name)
            ),
        ]
        return Role(
            arn=role["Arn"],
            name=role["RoleName"],
            role_id=role["RoleId"],
            max_session=int(role.get("MaxSessionDuration", 3600)),
            trust=parse_policy(role["AssumeRolePolicyDocument"], kind=PolicyKind.TRUST, name=f"trust policy of {name}"),
            policies=tuple(policies),
            boundary=self._boundary(iam, role),
            boundary_arn=_boundary_arn(role),
            tags=_tags(role),
        )

    def _read_user(self, account: str, name: str) -> User | None:
        iam = self.client(account)
        try:
            user = iam.get_user(UserName=name)["User"]
        except iam.exceptions.NoSuchEntityException:
            return None
        policies = [
            *(
                self._managed(iam, item["PolicyArn"])
                for item in _pages(iam, "list_attached_user_policies", "AttachedPolicies", UserName=name)
            ),
            *(
                _named(policy, iam.get_user_policy(UserName=name, PolicyName=policy)["PolicyDocument"], inline=True)
                for policy in _pages(iam, "list_user_policies", "PolicyNames", UserName=name)
            ),
        ]
        for group in _pages(iam, "list_groups_for_user", "Groups", UserName=name):
            group_name = group["GroupName"]
            policies += [
                self._managed(iam, item["PolicyArn"])
                for item in _pages(iam, "list_attached_group_policies", "AttachedPolicies", GroupName=group_name)
            ]
            policies += [
                _named(
                    policy, iam.get_group_policy(GroupName=group_name, PolicyName=policy)["PolicyDocument"], inline=True
                )
                for policy in _pages(iam, "list_group_policies", "PolicyNames", GroupName=group_name)
            ]
        return User(
            arn=user["Arn"],
            name=name,
            user_id=unique_ids.spelt("UserId", user["UserId"]),
            policies=tuple(policies),
            boundary=self._boundary(iam, user),
            boundary_arn=_boundary_arn(user),
            tags=_tags(user),
        )

    def _boundary(self, iam: Any, entity: Mapping[str, Any]) -> NamedPolicy | None:
        arn = _boundary_arn(entity)
        return self._managed(iam, arn) if arn else None

    def _managed(self, iam: Any, arn: str) -> NamedPolicy:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return _named(arn.rpartition("/")[2], document)

    def _read_arn(self, account: str, kind: str, name: str) -> str | None:
        iam, member = self.client(account), kind.title().replace("_", "")
        try:
            return str(getattr(iam, f"get_{kind}")(**{f"{member}Name": name})[member]["Arn"])
        except iam.exceptions.NoSuchEntityException:
            return None

    def _read_managed(self, account: str, arn: str) -> NamedPolicy | None:
        iam = self.client(account)
        try:
            return self._managed(iam, arn)
        except iam.exceptions.NoSuchEntityException:
            return None

    def _read_providers(self, account: str) -> dict[str, Provider]:
        iam = self.client(account)
        found: dict[str, Provider] = {}
        for item in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
            provider = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=item["Arn"])
            url = str(provider["Url"])
            url = url if url.startswith("https://") else f"https://{url}"
            found[url] = Provider(arn=item["Arn"], url=url, client_ids=tuple(provider.get("ClientIDList", ())))
        return found

    def _read_role_names(self, account: str) -> dict[str, str]:
        return {role["RoleName"].lower(): role["Arn"] for role in _pages(self.client(account), "list_roles", "Roles")}

    def _read_policy_arns(self, account: str) -> frozenset[str]:
        return frozenset(
            item["Arn"] for item in _pages(self.client(account), "list_policies", "Policies", Scope="Local")
        )


def _boundary_arn(entity: Mapping[str, Any]) -> str | None:
    boundary = entity.get("PermissionsBoundary")
    return str(boundary["PermissionsBoundaryArn"]) if boundary else None


def _tags(entity: Mapping[str, Any]) -> dict[str, str]:
    return {str(item["Key"]): str(item["Value"]) for item in entity.get("Tags", ())}


def _pages(client: Any, operation: str, key: str, **arguments: str) -> list[Any]:
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page[key]]


def _named(name: str, document: Any, *, inline: bool = False) -> NamedPolicy:
    # What was stored passed the gate's own parser; AWS's managed policies did not, and are AWS's word.
    return NamedPolicy(
        name=name,
        document=parse_policy(document, kind=PolicyKind.IDENTITY, name=f"{'inline ' if inline else ''}policy {name}"),
    )
