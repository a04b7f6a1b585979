"""AWS's partitions as values, so that no ARN or endpoint is ever spelt with one of them built in.

Source: "AWS service endpoints" and "Partitions" in the AWS General Reference. The audience that STS expects of a service
account's token is sts.amazonaws.com in every one of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from towpath.errors import UsageError

REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")  # a region's code, as eu-west-1


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """One partition: its name as ARNs spell it, its DNS suffix, and the region prefixes that lie in it."""

    name: str
    dns_suffix: str
    prefixes: tuple[str, ...]
    sts_audience: str = "sts.amazonaws.com"


PARTITIONS: Final = (
    Partition(name="aws-cn", dns_suffix="amazonaws.com.cn", prefixes=("cn-",)),
    Partition(name="aws-us-gov", dns_suffix="amazonaws.com", prefixes=("us-gov-",)),
    Partition(name="aws", dns_suffix="amazonaws.com", prefixes=("",)),  # last: every other region
)


def of_region(region: str) -> Partition:
    """The partition a region lies in."""
    return next(found for found in PARTITIONS if region.startswith(found.prefixes))


def by_name(name: str) -> Partition:
    """Raises UsageError for a partition this version does not know."""
    for found in PARTITIONS:
        if found.name == name:
            return found
    raise UsageError(
        f"the partition {name!r} is not known",
        where="--partition",
        todo=f"use one of {', '.join(p.name for p in PARTITIONS)}",
    )


def issuer_host(url: str) -> str:
    """The issuer as condition keys and provider ARNs spell it: without `https://`, otherwise letter for letter."""
    return url.removeprefix("https://")
