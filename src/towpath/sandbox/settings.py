"""What a sandbox is started with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from towpath.errors import UsageError
from towpath.iam import partition as partitions
from towpath.oidc.fetch import IssuerMapping
from towpath.sandbox.faults import Fault

ACCOUNT: Final = "123456789012"
REGION: Final = "eu-west-1"


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """One sandbox. Raises UsageError for what is not a region, an account or a host name."""

    listen: str = "127.0.0.1"  # address; anything but loopback is opened only when it is named here
    port: int = 0  # 0: a free one
    account: str = ACCOUNT  # twelve digits
    accounts: tuple[
        str, ...
    ] = ()  # more of them, that exist from the start; every other exists once its key is asked for
    region: str = REGION  # the default cluster's, and what AWS_REGION says; its partition is the sandbox's
    cluster: str = "sandbox"  # the EKS cluster that exists from the start
    hosts: tuple[str, ...] = ()  # names, beside loopback's and the address's own, that a request may be sent to
    issuers: tuple[IssuerMapping, ...] = ()  # public issuer names that are served at other addresses (a real cluster's)
    faults: tuple[Fault, ...] = ()  # errors to inject
    fault_seed: int = 0  # of the generator that faults with a fraction for a rate draw from

    state: Path | None = None  # the directory that IAM, STS, EKS and S3 are kept in; None: a temporary one
    fsync: bool = False  # wait for the disk before an answer goes out: kept even when the machine loses its power

    def __post_init__(self) -> None:
        if not partitions.REGION.fullmatch(self.region):
            raise UsageError(
                f"{self.region!r} is not a region", where="--region", todo="give a region's code, as eu-west-1"
            )
        for option, account in (("--account", self.account), *(("--accounts", item) for item in self.accounts)):
            if not re.fullmatch(r"[0-9]{12}", account):
                raise UsageError(f"{account!r} is not an account", where=option, todo="give twelve digits")
        for host in self.hosts:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", host):
                raise UsageError(
                    f"{host!r} is not a host name",
                    where="--host",
                    todo="give a name without scheme or port, as sandbox.test",
                )

    @property
    def partition(self) -> str:
        return partitions.of_region(self.region).name
