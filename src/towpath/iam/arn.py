"""Amazon Resource Names, parsed, built and checked.

Source: "Amazon Resource Names (ARNs)" and "IAM identifiers" in the IAM User Guide; limits from "IAM and AWS STS quotas".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from towpath.errors import UsageError

ROLE_NAME_LIMIT: Final = 64
POLICY_NAME_LIMIT: Final = 128
PATH_LIMIT: Final = 512
# "General purpose bucket naming rules", S3 User Guide: no address, no two dots beside each other.
BUCKET_NAME: Final = re.compile(r"(?!\d{1,3}(?:\.\d{1,3}){3}$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]+")
_PATH: Final = re.compile(r"/|/[\x21-\x7e]+/")
_CONTROL: Final = re.compile(r"[\x00-\x1f]")
_ACCOUNT: Final = re.compile(r"|aws|\*|[0-9]{12}")
_PARTITION: Final = re.compile(r"aws(-[a-z]+)*|\*")


class ArnError(UsageError):
    """A text that should be an ARN and is not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arn:
    """`arn:partition:service:region:account:resource`; `region` and `account` are "" where the service has none."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> Arn:
        """Raises ArnError, saying which of the six parts is wrong."""
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn":
            raise _error(text, "an ARN has six parts separated by colons and begins with arn:")
        _, partition, service, region, account, resource = parts
        if not _PARTITION.fullmatch(partition):
            raise _error(text, f"its partition {partition!r} is not one of aws, aws-cn, aws-us-gov")
        if not service:
            raise _error(text, "its service is empty")
        if not _ACCOUNT.fullmatch(account):
            raise _error(text, f"its account {account!r} is not twelve digits")
        if not resource:
            raise _error(text, "its resource is empty")
        if _CONTROL.search(text) or text != text.strip():
            raise _error(text, "it has white space at an end, or a control character")
        return cls(partition=partition, service=service, region=region, account=account, resource=resource)

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"

    @property
    def resource_type(self) -> str:
        """`role` of `role/etl/hd-orders`; "" when the resource has no type."""
        return self.resource.partition("/")[0] if "/" in self.resource else ""

    @property
    def resource_name(self) -> str:
        """The last segment: `hd-orders` of `role/etl/hd-orders`."""
        return self.resource.rpartition("/")[2]

    @property
    def resource_path(self) -> str:
        """What stands between type and name, as IAM writes a path: `/etl/`, or `/`."""
        middle = self.resource.split("/")[1:-1]
        return "/" + "".join(f"{part}/" for part in middle)


def _error(text: str, reason: str) -> ArnError:
    return ArnError(
        f"{text[:200]!r} is not an ARN: {reason}",
        where="ARN",
        todo="copy the ARN as AWS prints it, e.g. arn:aws:iam::123456789012:role/hd-orders",
    )


def role_arn(*, partition: str, account: str, name: str, path: str = "/") -> Arn:
    return Arn(partition=partition, service="iam", region="", account=account, resource=f"role{path}{name}")


def policy_arn(*, partition: str, account: str, name: str, path: str = "/") -> Arn:
    return Arn(partition=partition, service="iam", region="", account=account, resource=f"policy{path}{name}")


def provider_arn(*, partition: str, account: str, issuer: str) -> Arn:
    """The OIDC provider's ARN holds the issuer's URL without its scheme."""
    return Arn(
        partition=partition,
        service="iam",
        region="",
        account=account,
        resource=f"oidc-provider/{issuer.removeprefix('https://')}",
    )


def issuer_of_provider(arn: str) -> str:
    """`oidc.eks.<region>.amazonaws.com/id/<hex>`: the condition keys' prefix and, after https://, the issuer."""
    return Arn.parse(arn).resource.removeprefix("oidc-provider/")


def bucket_arn(*, partition: str, bucket: str, key: str = "") -> Arn:
    return Arn(partition=partition, service="s3", region="", account="", resource=f"{bucket}/{key}" if key else bucket)


def check_role_name(name: str, *, where: str = "role") -> None:
    """Raises UsageError unless IAM would take `name` for a role."""
    _check_name(name, ROLE_NAME_LIMIT, "role", where)


def check_policy_name(name: str, *, where: str = "policy") -> None:
    """Raises UsageError unless IAM would take `name` for a policy."""
    _check_name(name, POLICY_NAME_LIMIT, "policy", where)


def check_path(path: str, *, where: str = "path") -> None:
    """Raises UsageError unless IAM would take `path`."""
    if len(path) > PATH_LIMIT or not _PATH.fullmatch(path):
        raise UsageError(
            f"{path[:80]!r} is not an IAM path: it begins and ends with a slash and has at most {PATH_LIMIT} printable characters",
            where=where,
            todo="write it as /data/pipelines/",
        )


def _check_name(name: str, longest: int, kind: str, where: str) -> None:
    if not name:
        raise UsageError(f"the {kind} name is empty", where=where, todo=f"give the {kind} a name")
    if len(name) > longest:
        raise UsageError(
            f"the {kind} name {name[:40]!r}… has {len(name)} characters; IAM allows {longest}",
            where=where,
            todo=f"shorten it by {len(name) - longest}",
        )
    if not _NAME.fullmatch(name):
        bad = sorted({char for char in name if not _NAME.fullmatch(char)})
        raise UsageError(
            f"the {kind} name {name!r} holds {' '.join(map(repr, bad))}; IAM allows letters, digits and + = , . @ _ -",
            where=where,
            todo="take those characters out",
        )
