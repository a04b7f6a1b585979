"""The identity manifest (`towpath.yaml`), and the same by flags.

Validated whole before anything is read of the world: a manifest is either right or refused with the field's path and the fix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from towpath import yaml_files
from towpath.chain.observed import Wanted, WantedPolicy
from towpath.errors import UsageError
from towpath.iam import arn as arns
from towpath.iam import build, presets, quota
from towpath.iam import partition as partitions
from towpath.iam.policy import PolicyKind, parse_policy

KUBERNETES_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
DURATION: Final = re.compile(r"(\d+)\s*(s|m|h)?")
SHORTEST_SESSION: Final = 3_600  # seconds; MaxSessionDuration's range is 3,600 to 43,200
LONGEST_SESSION: Final = 43_200
SHORTEST_TOKEN: Final = 600  # seconds; what the webhook takes, and Kubernetes' own least
LONGEST_TOKEN: Final = 86_400

# The flags in place of a manifest's fields.
FLAGS: Final = {
    "cluster": "--eks, --cluster, --issuer",
    "cluster.region": "--region",
    "namespace": "--namespace",
    "identities[0].serviceAccount": "--service-account",
    "identities[0].role.name": "--role",
    "identities[0].role.maxSession": "--max-session",
    "identities[0].role.permissionsBoundary": "--permissions-boundary",
}


class ManifestError(UsageError):
    """A manifest, or the flags in its place, that cannot be meant."""


def _seconds(value: object) -> object:
    if isinstance(value, str):
        match = DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError("a duration is a number with s, m or h, as 1h")
        return int(match[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[match[2]]
    return value


def _session(value: int) -> int:
    if not SHORTEST_SESSION <= value <= LONGEST_SESSION:
        raise ValueError("a role's sessions last 1h to 12h")
    return value


def _token(value: int) -> int:
    if not SHORTEST_TOKEN <= value <= LONGEST_TOKEN:
        raise ValueError("a token lasts 10m to 24h")
    return value


Seconds = Annotated[int, BeforeValidator(_seconds)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


class Cluster(_Model):
    """An EKS cluster by name, or any other by a name of your choice; its issuer is then `issuer`, or what its API server says."""

    eks: str | None = None
    issuer: str | None = None
    name: str | None = None
    region: str

    @model_validator(mode="after")
    def _one(self) -> Cluster:
        if (self.eks is None) == (self.name is None) or (self.eks is not None and self.issuer is not None):
            raise ValueError(
                "a cluster is either eks: NAME, or name: NAME (with issuer: URL, or as its kubeconfig's server says)"
            )
        if self.issuer is not None and not self.issuer.startswith("https://"):
            raise ValueError("an issuer is an https URL")
        return self

    @field_validator("region")
    @classmethod
    def _code(cls, value: str) -> str:
        if not partitions.REGION.fullmatch(value):
            raise ValueError(f"{value!r} is not a region's code, as eu-west-1 is")
        return value


class Role(_Model):
    name: str
    path: str = "/"
    permissions_boundary: str | None = Field(default=None, alias="permissionsBoundary")
    max_session: Annotated[Seconds, AfterValidator(_session)] | None = Field(default=None, alias="maxSession")


class S3Permission(_Model):
    bucket: str
    prefix: str = ""
    access: str = "read-write"


class Permission(_Model):
    """One of: the preset `s3`, a policy document in a `file`, an existing policy's `arn`."""

    s3: S3Permission | None = None
    file: str | None = None
    arn: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Permission:
        if sum(item is not None for item in (self.s3, self.file, self.arn)) != 1:
            raise ValueError("a permission is one of s3, file or arn")
        return self


class Identity(_Model):
    service_account: str = Field(default="hd-job-sa", alias="serviceAccount")
    role: Role
    permissions: tuple[Permission, ...] = ()
    wildcard: bool = False
    audience: str | None = Field(default=None, min_length=1, max_length=255)
    token_expiration: Annotated[Seconds, AfterValidator(_token)] | None = Field(default=None, alias="tokenExpiration")
    sts_regional_endpoints: bool | None = Field(default=None, alias="stsRegionalEndpoints")


class Manifest(_Model):
    cluster: Cluster
    namespace: str = "default"
    identities: tuple[Identity, ...] = Field(min_length=1)


def load_manifest(path: Path) -> tuple[Wanted, ...]:
    """Every identity of the file. Raises ManifestError or PolicyError; paths in it are relative to the file."""
    value = yaml_files.read(
        path,
        noun="manifest",
        todo="give the path of a towpath.yaml with --manifest, or the flags instead",
        of=ManifestError,
    )
    return resolve(validated(value, source=str(path)), base=path.parent)


def validated(value: object, *, source: str) -> Manifest:
    """Raises ManifestError with the field's path, and for an unknown field the nearest known one."""
    if not isinstance(value, Mapping):
        raise ManifestError(
            "the manifest is not an object with cluster, namespace and identities",
            where=source,
            todo="see docs/manifest.md for an example",
        )
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise yaml_files.refusal(error, source=source, known=_fields, of=ManifestError) from None


def from_flags(
    *,
    eks: str | None,
    issuer: str | None,
    cluster: str | None,
    region: str | None,
    namespace: str,
    service_account: str,
    role: str | None,
    policy_files: Sequence[str] = (),
    policy_arns: Sequence[str] = (),
    max_session: str | None = None,
    permissions_boundary: str | None = None,
) -> Wanted:
    """One identity by flags, through the same checks as a file's."""
    named = (("--eks (or --cluster)", eks or cluster), ("--region", region), ("--role", role))
    missing = [flag for flag, value in named if not value]
    if missing:
        raise ManifestError(
            f"missing {' and '.join(missing)}",
            where="flags",
            todo="give --eks NAME --region REGION --namespace NAMESPACE --service-account NAME --role NAME, or --manifest towpath.yaml",
        )
    value: dict[str, Any] = {
        "cluster": {
            "region": region,
            **({"eks": eks} if eks else {}),
            **({"issuer": issuer} if issuer else {}),
            **({"name": cluster} if cluster else {}),
        },
        "namespace": namespace,
        "identities": [
            {
                "serviceAccount": service_account,
                "role": {"name": role, "maxSession": max_session, "permissionsBoundary": permissions_boundary},
                "permissions": [{"file": item} for item in policy_files] + [{"arn": item} for item in policy_arns],
            }
        ],
    }
    try:
        return resolve(validated(value, source="flags"), base=Path())[0]
    except UsageError as error:
        error.where = _as_flags(error.where, files=len(policy_files))
        raise


def _as_flags(where: str, *, files: int) -> str:
    """A place in a manifest as the flag that stands for it; the first `files` permissions are policy files."""
    found = re.fullmatch(r"(?:flags, )?(identities\[0\]\.permissions\[(\d+)\]|[A-Za-z0-9.\[\]]+)((?:\W.*)?)", where)
    if found is None:
        return where
    if found[2]:
        return ("--policy-file" if int(found[2]) < files else "--policy-arn") + found[3].removeprefix(".arn")
    return FLAGS[found[1]] + found[3] if found[1] in FLAGS else where


def resolve(manifest: Manifest, *, base: Path) -> tuple[Wanted, ...]:
    """Everything filled in that needs no look at the world: policy files read and validated, names and sizes checked."""
    seen: set[str] = set()
    out: list[Wanted] = []
    for index, identity in enumerate(manifest.identities):
        where = f"identities[{index}]"
        for text, place in ((manifest.namespace, "namespace"), (identity.service_account, f"{where}.serviceAccount")):
            if not KUBERNETES_NAME.fullmatch(text) and not (identity.wildcard and re.fullmatch(r"[a-z0-9.*?-]+", text)):
                raise ManifestError(
                    f"{text!r} is not a Kubernetes name: lower-case letters, digits, '-' and '.', at most 253",
                    where=place,
                    todo="write the name as kubectl shows it",
                )
        if identity.service_account in seen:
            raise ManifestError(
                f"the service account {identity.service_account} has two identities",
                where=where,
                todo="give each service account one role",
            )
        seen.add(identity.service_account)
        arns.check_role_name(identity.role.name, where=f"{where}.role.name")
        arns.check_path(identity.role.path, where=f"{where}.role.path")
        out.append(_wanted(manifest, identity, where, base))
    return tuple(out)


def _wanted(manifest: Manifest, identity: Identity, where: str, base: Path) -> Wanted:
    cluster = manifest.cluster
    partition = partitions.of_region(cluster.region).name
    policies: list[WantedPolicy] = []
    policy_arns: list[str] = []
    for index, permission in enumerate(identity.permissions):
        place = f"{where}.permissions[{index}]"
        if permission.arn is not None:
            policy_arns.append(_policy_arn(permission.arn, partition, place))
            continue
        name, document = _document(permission, identity.role.name, partition, base, place)
        arns.check_policy_name(name, where=place)
        quota.check_managed_policy(document, quota.Quotas(), name=name)
        if any(item.name == name for item in policies):
            raise ManifestError(
                f"two permissions would make the policy {name}", where=place, todo="give the files different names"
            )
        policies.append(WantedPolicy(name=name, document=document))
    boundary = identity.role.permissions_boundary
    return Wanted(
        cluster=cluster.eks or cast("str", cluster.name),
        region=cluster.region,
        eks=cluster.eks is not None,
        issuer_url=cluster.issuer,
        namespace=manifest.namespace,
        service_account=identity.service_account,
        role_name=identity.role.name,
        role_path=identity.role.path,
        max_session=identity.role.max_session,
        permissions_boundary=_policy_arn(boundary, partition, f"{where}.role.permissionsBoundary")
        if boundary
        else None,
        policies=tuple(policies),
        policy_arns=tuple(dict.fromkeys(policy_arns)),
        wildcard=identity.wildcard,
        token_audience=identity.audience,
        token_expiration=identity.token_expiration,
        sts_regional_endpoints=identity.sts_regional_endpoints,
    )


def _document(permission: Permission, role: str, partition: str, base: Path, place: str) -> tuple[str, dict[str, Any]]:
    if permission.s3 is not None:
        s3 = permission.s3
        try:
            statements = presets.s3_statements(
                partition=partition, bucket=s3.bucket, prefix=s3.prefix, access=s3.access
            )
        except UsageError as error:
            error.where = f"{place}.s3.{error.where.removeprefix('--')}"
            raise
        return f"{role}-s3-{s3.bucket}", build.policy(statements)
    path = base / cast("str", permission.file)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ManifestError(
            f"cannot read the policy file: {error.strerror}",
            where=f"{place}, {path}",
            todo="give the path of a JSON policy document",
        ) from None
    document = parse_policy(text, kind=PolicyKind.IDENTITY, name=str(path))
    stem = re.sub(r"[^A-Za-z0-9_+=,.@-]+", "-", path.stem)
    return f"{role}-{stem}", dict(document.source)


def _policy_arn(text: str, partition: str, place: str) -> str:
    try:
        found = arns.Arn.parse(text)
    except arns.ArnError as error:
        error.where = place
        raise
    if found.service != "iam" or found.resource_type != "policy":
        raise ManifestError(
            f"{text} is not a managed policy's ARN",
            where=place,
            todo="copy it from `aws iam list-policies`: arn:PARTITION:iam::ACCOUNT:policy/NAME",
        )
    if found.partition != partition:
        raise ManifestError(
            f"{text} lies in the partition {found.partition}, the cluster's region in {partition}",
            where=place,
            todo=f"use the policy of the partition {partition}",
        )
    return text


def _fields(location: tuple[int | str, ...]) -> list[str]:
    """The fields known at a place in the manifest."""
    models: dict[str, type[BaseModel]] = {
        "cluster": Cluster,
        "identities": Identity,
        "role": Role,
        "permissions": Permission,
        "s3": S3Permission,
    }
    names = [part for part in location if isinstance(part, str)]
    model = models.get(names[-1], Manifest) if names else Manifest
    return [field.alias or name for name, field in model.model_fields.items()]
