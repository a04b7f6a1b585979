"""Whom Principal and NotPrincipal name, and how directly: that decides which other policies still limit the caller.

Sources, IAM User Guide: "AWS JSON policy elements: Principal", "AWS JSON policy elements: NotPrincipal", and "How AWS enforcement
code logic evaluates requests to allow or deny access" (its list of what an implicit deny limits by the ARN that was named).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from towpath.iam.request import Caller

_ROLE: Final = re.compile(r"arn:([^:]+):iam::([0-9]{12}):role/(?:[^:]*/)?([^/:]+)")
_SESSION: Final = re.compile(r"arn:([^:]+):sts::([0-9]{12}):assumed-role/([^/:]+)/[^/:]+")
_FEDERATED_USER: Final = re.compile(r"arn:([^:]+):sts::([0-9]{12}):federated-user/(.+)")


class Named(IntEnum):
    """How a Principal names the caller, the most direct last."""

    NOT = 0
    ACCOUNT = 1  # its account: authority is delegated, the caller's own policies have to allow too
    BEHIND = 2  # the role of the session, the user of the federated session: boundary and session policy still limit it
    DIRECTLY = 3  # the user, the session, the service, the provider, or everybody


class Principals:
    """The names of one Principal or NotPrincipal element, sorted by what they are."""

    __slots__ = ("accounts", "arns", "aws_anyone", "canonical", "everyone", "federated", "ids", "services")

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.everyone = self.aws_anyone = False
        accounts: set[str] = set()
        arns: set[str] = set()
        by_type: dict[str, set[str]] = {"Federated": set(), "Service": set(), "CanonicalUser": set(), "id": set()}
        for kind, name in pairs:
            if kind == "*":
                self.everyone = True
            elif kind != "AWS":
                by_type[kind].add(name)
            elif name == "*":
                self.aws_anyone = True
            elif name.isdigit():
                accounts.add(name)
            elif name.endswith(":root"):
                accounts.add(name.split(":")[4])
            else:
                (arns if name.startswith("arn:") else by_type["id"]).add(name)
        self.accounts = frozenset(accounts)
        self.arns = frozenset(arns)
        self.federated = frozenset(by_type["Federated"])
        self.services = frozenset(by_type["Service"])
        self.canonical = frozenset(by_type["CanonicalUser"])
        self.ids = frozenset(by_type["id"])

    def how(self, caller: Caller, *, deny: bool) -> Named:
        """How the caller is named. `"*"` is everybody, the anonymous too.

        `{"AWS": "*"}` is the same for a person or nobody; whether it means services and tokens no page says, so it denies them and
        does not allow them. The same holds for an account and the tokens of a provider registered in it.
        """
        if self.everyone:
            return Named.DIRECTLY
        if caller.service is not None or caller.federated is not None:
            named = caller.service in self.services or caller.federated in self.federated
            denied = deny and (self.aws_anyone or _account_of(caller.federated) in self.accounts)
            return Named.DIRECTLY if named or denied else Named.NOT
        if self.aws_anyone:
            return Named.DIRECTLY
        if self._itself(caller):
            return Named.DIRECTLY
        if self._behind(caller):
            return Named.BEHIND
        account = caller.account in self.accounts or caller.canonical_user in self.canonical
        return Named.ACCOUNT if account else Named.NOT

    def _itself(self, caller: Caller) -> bool:
        """Whether the user or the session itself is named. A role is never: it acts through sessions."""
        if caller.arn is not None and caller.arn in self.arns:
            return _ROLE.fullmatch(caller.arn) is None
        return self._by_id(caller, "AIDA")

    def _behind(self, caller: Caller) -> bool:
        """Whether the role of the session, or the user of the federated session, is named."""
        if self._by_id(caller, "AROA"):
            return True
        if caller.role_arn is not None:
            return caller.role_arn in self.arns
        if caller.arn is None or not self.arns:
            return False
        if session := _SESSION.fullmatch(caller.arn):
            # The session's ARN does not tell its role's path, so any role of that name in the account is its role.
            return any((found := _ROLE.fullmatch(name)) and found.groups() == session.groups() for name in self.arns)
        if federated := _FEDERATED_USER.fullmatch(caller.arn):
            partition, account, user = federated.groups()
            return f"arn:{partition}:iam::{account}:user/{user}" in self.arns
        return caller.arn in self.arns and _ROLE.fullmatch(caller.arn) is not None

    def _by_id(self, caller: Caller, prefix: str) -> bool:
        if not self.ids or caller.unique_id is None:
            return False
        unique = caller.unique_id.partition(":")[0]
        return unique.startswith(prefix) and unique in self.ids

    def excepts(self, caller: Caller) -> bool:
        """Whether NotPrincipal excepts the caller: account, role and session, or account and user, all have to be listed.

        AWS says it may check the account first, then the role, then the session, and asks for all of them in the list.
        """
        if self.everyone:
            return True
        if caller.service is not None or caller.federated is not None:
            return caller.service in self.services or caller.federated in self.federated
        if self.aws_anyone:
            return True
        if caller.account not in self.accounts and caller.canonical_user not in self.canonical:
            return False
        if caller.is_root:
            return True
        session = caller.role_arn is not None or (caller.arn is not None and ":assumed-role/" in caller.arn)
        if session:
            return self._behind(caller) and caller.arn in self.arns
        return self._itself(caller) or self._behind(caller)


def _account_of(provider: str | None) -> str:
    """The account a provider's ARN names; "" for none."""
    return provider.split(":")[4] if provider is not None and provider.count(":") >= 5 else ""
