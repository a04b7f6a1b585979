"""The identity manifest (`towpath.yaml`), and the same by flags.

Validated whole before anything is read of the world: a manifest is either right or refused with the field's path and the fix.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from towpath.chain.observed import Wanted, WantedPolicy
from towpath.errors import UsageError
from towpath.iam import arn as arns
from towpath.iam import build, presets, quota
from towpath.iam import partition as partitions
from towpath.iam.policy import PolicyKind, parse_policy

KUBERNETES_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")
DURATION: Final = re.compile(r"(\d+)\s*(s|m|h)?")
SHORTEST_SESSION: Final = 3_600  # seconds; MaxSessionDuration's range is 3,600 to 43,200
LONGEST_SESSION: Final = 43_200


class ManifestError(UsageError):
    """A manifest, or the flags in its place, that cannot be meant."""


def _seconds(value: object) -> object:
    if isinstance(value, str):
        match = DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError("a duration is a number with s, m or h, as 1h")
        return int(match[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[match[2]]
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
        if not REGION.fullmatch(self.region):
            raise ValueError(f"{self.region!r} is not a region's code, as eu-west-1 is")
        return self


class Role(_Model):
    name: str
    path: str = "/"
    permissions_boundary: str | None = Field(default=None, alias="permissionsBoundary")
    max_session: Seconds | None = Field(default=None, alias="maxSession", ge=SHORTEST_SESSION, le=LONGEST_SESSION)


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
    token_expiration: Seconds | None = Field(default=None, alias="tokenExpiration", ge=600, le=86_400)
    sts_regional_endpoints: bool | None = Field(default=None, alias="stsRegionalEndpoints")


class Manifest(_Model):
    cluster: Cluster
    namespace: str = "default"
    identities: tuple[Identity, ...] = Field(min_length=1)


def load_manifest(path: Path) -> tuple[Wanted, ...]:
    """Every identity of the file. Raises ManifestError or PolicyError; paths in it are relative to the file."""
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(
            f"cannot read the manifest: {error.strerror}",
            where=str(path),
            todo="give the path of a towpath.yaml with --manifest, or the flags instead",
        ) from None
    except UnicodeDecodeError:
        raise ManifestError("the manifest is not UTF-8 text", where=str(path), todo="save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark is not None else str(path)
        raise ManifestError(
            f"the manifest is not YAML: {getattr(error, 'problem', error)}", where=place, todo="correct the line"
        ) from None
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
        # A misspelt field is also a missing one; the misspelling is what to tell.
        first = next((item for item in error.errors() if item["type"] == "extra_forbidden"), error.errors()[0])
        place = _place(first["loc"])
        where = f"{source}, {place}" if place else source
        if first["type"] == "extra_forbidden":
            unknown = str(first["loc"][-1])
            near = difflib.get_close_matches(unknown, _fields(first["loc"][:-1]), n=1, cutoff=0.5)
            hint = (
                f"did you mean {near[0]}?" if near else f"the fields here are {', '.join(_fields(first['loc'][:-1]))}"
            )
            raise ManifestError(f"the field {unknown!r} is not known", where=where, todo=hint) from None
        message = "the field is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        raise ManifestError(
            message[:1].lower() + message[1:], where=where, todo="correct it and run the same command again"
        ) from None


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
    return resolve(validated(value, source="flags"), base=Path())[0]


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
        statements = presets.s3_statements(partition=partition, bucket=s3.bucket, prefix=s3.prefix, access=s3.access)
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
    found = arns.Arn.parse(text)
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


def _place(location: tuple[int | str, ...]) -> str:
    out = ""
    for part in location:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


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
