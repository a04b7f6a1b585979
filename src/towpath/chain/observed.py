"""What was seen of one identity's chain in one pass over the world: plain values, serialisable, with nothing concluded.

A part that could not be read is None and has a row in `unreadable` (part -> why); a part that is not there is None without one.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from towpath.chain.finding import Value
from towpath.iam import arn as arns
from towpath.iam import build
from towpath.iam import partition as partitions
from towpath.iam.quota import Quotas

Document = dict[str, Any]


class WantedPolicy(Value):
    """A customer-managed policy the identity is to have: its name and document."""

    name: str
    document: Document


class Wanted(Value):
    """One identity as its manifest asks for it, with everything filled in that needs no look at the world."""

    cluster: str  # EKS cluster's name, or a name for a self-hosted one
    region: str
    eks: bool = (
        True  # False: the issuer is `issuer_url`, or where that is None what the API server says; no EKS call is made
    )
    issuer_url: str | None = None
    namespace: str
    service_account: str
    role_name: str
    role_path: str = "/"
    max_session: int | None = None  # seconds; None: whatever the role has
    permissions_boundary: str | None = None
    policies: tuple[WantedPolicy, ...] = ()
    policy_arns: tuple[str, ...] = ()
    wildcard: bool = False
    token_audience: str | None = None  # None: what the partition's STS takes
    token_expiration: int | None = None  # seconds, for a webhook; None: its own default
    sts_regional_endpoints: bool | None = None  # for a webhook; None: its own default

    @property
    def annotations(self) -> dict[str, str]:
        """What the service account is to be annotated with beside the role, by the EKS webhook's keys."""
        wanted = {
            "audience": self.token_audience,
            "token-expiration": None if self.token_expiration is None else str(self.token_expiration),
            "sts-regional-endpoints": None
            if self.sts_regional_endpoints is None
            else str(self.sts_regional_endpoints).lower(),
        }
        return {f"eks.amazonaws.com/{key}": value for key, value in wanted.items() if value is not None}

    @property
    def partition(self) -> str:
        return partitions.of_region(self.region).name

    @property
    def audience(self) -> str:
        return self.token_audience or partitions.of_region(self.region).sts_audience

    @property
    def subject(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"

    @property
    def sid(self) -> str:
        return build.statement_sid(cluster=self.cluster, namespace=self.namespace, service_account=self.service_account)

    @property
    def owner(self) -> str:
        """The value of the tag towpath:owner on what is made for this identity."""
        return f"{self.cluster}/{self.namespace}/{self.service_account}"


class ObservedIssuer(Value):
    url: str
    source: str  # the call that named it
    discovery: bool | None = None  # both documents readable; None: not tried
    problem: str = ""
    keys: tuple[str, ...] = ()


class ObservedProvider(Value):
    arn: str
    url: str  # with https://
    client_ids: tuple[str, ...]
    tags: dict[str, str] = Field(default_factory=dict)


class ObservedPolicy(Value):
    """A managed policy. `document` is its default version's; None for one of AWS's own, which nobody here changes."""

    arn: str
    name: str
    document: Document | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    versions: int = 1
    attachments: int = 0


class ObservedRole(Value):
    arn: str
    name: str
    path: str
    max_session: int  # seconds
    trust: Document
    created: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    boundary: str | None = None
    attached: tuple[ObservedPolicy, ...] = ()
    inline: tuple[WantedPolicy, ...] = ()


class ObservedServiceAccount(Value):
    namespace: str
    name: str
    backend: str  # where it lives: "kubernetes" or "sandbox"
    uid: str = ""
    annotations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    owners: dict[str, str] = Field(default_factory=dict)  # annotation -> the field manager that set it

    @property
    def helm_release(self) -> tuple[str, str] | None:
        """(namespace, name) of the Helm release this belongs to."""
        name = self.annotations.get("meta.helm.sh/release-name")
        return (self.annotations.get("meta.helm.sh/release-namespace", self.namespace), name) if name else None


class ObservedExchange(Value):
    """One real AssumeRoleWithWebIdentity. `arn` is what GetCallerIdentity then answered."""

    ok: bool
    code: str = ""
    message: str = ""
    arn: str = ""
    issuer: str = ""  # the token's own claims, unverified
    subject: str = ""
    audiences: tuple[str, ...] = ()


class ObservedAccess(Value):
    """One harmless call made under the role."""

    action: str
    resource: str
    ok: bool
    code: str = ""
    message: str = ""


class Chain(Value):
    """Everything that was seen. `complete` policies of the account are not here: only those this identity names."""

    wanted: Wanted
    account: str
    issuer: ObservedIssuer | None = None
    provider: ObservedProvider | None = None
    other_providers: tuple[str, ...] = ()  # ARNs of the account's other providers
    role: ObservedRole | None = None
    policies: tuple[ObservedPolicy, ...] = ()  # customer-managed policies of the wanted names, attached or not
    quotas: dict[str, int] = Field(default_factory=dict)  # GetAccountSummary's rows
    service_account: ObservedServiceAccount | None = None
    webhook: str = ""  # what puts the token into pods beside the agent itself; "" when that was not looked for
    exchange: ObservedExchange | None = None
    access: tuple[ObservedAccess, ...] | None = None
    unreadable: dict[str, str] = Field(default_factory=dict)

    @property
    def role_arn(self) -> str:
        """The role's ARN, seen or as it will be."""
        if self.role is not None:
            return self.role.arn
        return str(
            arns.role_arn(
                partition=self.wanted.partition,
                account=self.account,
                name=self.wanted.role_name,
                path=self.wanted.role_path,
            )
        )

    @property
    def provider_arn(self) -> str:
        """The ARN of the provider this cluster's issuer has, or will have, in this account."""
        if self.provider is not None:
            return self.provider.arn
        issuer = self.issuer.url if self.issuer is not None else ""
        return str(arns.provider_arn(partition=self.wanted.partition, account=self.account, issuer=issuer))

    def limits(self) -> Quotas:
        return Quotas.from_account_summary(self.quotas)
