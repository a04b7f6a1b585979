"""Who may sign a request: the access keys the gate knows, and the principal behind each."""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from defusedxml import ElementTree

from towpath.iam.decide import NamedPolicy

SWEPT: Final = 512  # keys from which on sessions that ended are looked for


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """A caller the gate has authenticated. `arn` is what GetCallerIdentity answers.

    `role` is set for an assumed-role session, `user` for an IAM user; neither for the account's root, which no identity
    policy limits ("AWS account root user", IAM User Guide). `session` is "user" for credentials of GetSessionToken, "federated"
    for those of GetFederationToken (`user` is then the one who asked, `owner_id` its unique id).
    """

    arn: str
    account: str
    user_id: str
    role: str | None = None
    role_id: str | None = None
    role_arn: str | None = None
    user: str | None = None
    session_name: str | None = None
    session_policies: tuple[NamedPolicy, ...] | None = None
    session: str | None = None
    owner_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])  # the session's, not the role's
    transitive: tuple[str, ...] = ()  # those of `tags` that a next session in a chain of roles inherits
    source_identity: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])  # condition keys of every request

    @property
    def is_root(self) -> bool:
        return self.role is None and self.user is None

    @property
    def name(self) -> str:
        """Short, for a table: `hd-orders/session`, a user's name, or `root`."""
        if self.role:
            return f"{self.role}/{self.session_name}"
        return self.user or "root"


ANONYMOUS: Final = Principal(arn="*", account="anonymous", user_id="anonymous", user="anonymous")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One access key. A session's has a token and an end; a long-lived one has neither."""

    access_key: str
    secret: str = field(repr=False)
    principal: Principal
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


class Keys:
    """Every access key the gate accepts. Secrets stay in this process's memory."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._lock = threading.Lock()
        self._inactive: set[str] = set()
        self._sweep_at = (
            SWEPT  # keys; each sweep sets it to twice what is alive, so that sweeping costs each session the same
        )
        self.longest_session: timedelta | None = None  # set by tests: sessions end no later than this after they begin
        # Told of every change, with the key as it is now (None: gone) and whether it is active.
        self.told: Callable[..., None] | None = None

    def find(self, access_key: str) -> Key | None:
        return None if access_key in self._inactive else self._keys.get(access_key)

    def account_of(self, access_key: str) -> str | None:
        """Whose account's key it is, active or not."""
        key = self._keys.get(access_key)
        return key.principal.account if key is not None else None

    def add(self, key: Key) -> Key:
        with self._lock:
            self._keys[key.access_key] = key
            self._tell([key.access_key])
        return key

    def remove(self, access_key: str) -> None:
        with self._lock:
            self._keys.pop(access_key, None)
            self._inactive.discard(access_key)
            self._tell([access_key])

    def set_active(self, access_key: str, *, active: bool) -> None:
        with self._lock:
            (self._inactive.discard if active else self._inactive.add)(access_key)
            self._tell([access_key])

    def roots(self) -> dict[str, Key]:
        """The accounts' own root keys, by account."""
        with self._lock:
            return {
                key.principal.account: key
                for key in self._keys.values()
                if key.principal.is_root and key.session_token is None
            }

    def restore(self, access_key: str, key: Key | None, *, active: bool) -> None:
        """Make one key what it was; nobody is told."""
        with self._lock:
            if key is None:
                self._keys.pop(access_key, None)
            else:
                self._keys[access_key] = key
            (self._inactive.discard if active else self._inactive.add)(access_key)

    def clear(self, kept: Iterable[Key]) -> None:
        """Forget every key but these."""
        with self._lock:
            self._keys = {key.access_key: key for key in kept}
            self._inactive = set()
            self._tell(self._keys)

    def _tell(self, access_keys: Iterable[str]) -> None:
        if self.told is not None:
            for each in access_keys:
                self.told(each, self._keys.get(each), active=each not in self._inactive)

    def remove_user(self, account: str, user: str) -> None:
        with self._lock:
            gone = [k for k, v in self._keys.items() if (v.principal.account, v.principal.user) == (account, user)]
            self._keys = {k: v for k, v in self._keys.items() if k not in gone}
            self._tell(gone)

    def rename_user(self, account: str, user: str, new_name: str) -> None:
        with self._lock:
            for key in [k for k in self._keys.values() if (k.principal.account, k.principal.user) == (account, user)]:
                self._keys[key.access_key] = replace(key, principal=replace(key.principal, user=new_name))
                self._tell([key.access_key])

    def follow(
        self, operation: str, parameters: Mapping[str, object], body: bytes, *, account: str, partition: str
    ) -> None:
        """Keep step with the access keys of IAM users: a key's secret is told once, in the answer that made it."""
        user = str(parameters.get("UserName", ""))
        if operation == "CreateAccessKey":
            found = {item.tag.rpartition("}")[2]: item.text or "" for item in ElementTree.fromstring(body).iter()}
            principal = Principal(
                arn=f"arn:{partition}:iam::{account}:user/{user}",
                account=account,
                user_id=found["AccessKeyId"],
                user=user,
            )
            self.add(Key(access_key=found["AccessKeyId"], secret=found["SecretAccessKey"], principal=principal))
        elif operation == "DeleteAccessKey":
            self.remove(str(parameters.get("AccessKeyId", "")))
        elif operation == "UpdateAccessKey":
            self.set_active(str(parameters.get("AccessKeyId", "")), active=parameters.get("Status") != "Inactive")
        elif operation == "UpdateUser" and parameters.get("NewUserName"):
            self.rename_user(account, user, str(parameters["NewUserName"]))
        elif operation == "DeleteUser":
            self.remove_user(account, user)

    def issue_session(self, principal: Principal, *, now: datetime, expires_at: datetime) -> Key:
        """New temporary credentials, shaped as STS gives them."""
        if self.longest_session is not None:
            expires_at = min(expires_at, now + self.longest_session)
        random = secrets.token_bytes(10 + 30 + 267)  # read once: each reading is a system call
        key = Key(
            access_key="ASIA" + _base32(random[:10]),
            secret=_base64(random[10:40]),
            session_token=_base64(random[40:]),
            principal=principal,
            expires_at=expires_at,
        )
        with self._lock:
            if len(self._keys) >= self._sweep_at:
                self._keys = {k: v for k, v in self._keys.items() if v.expires_at is None or v.expires_at > now}
                self._sweep_at = max(SWEPT, 2 * len(self._keys))
            self._keys[key.access_key] = key
            self._tell([key.access_key])
        return key


def root_key(account: str, partition: str) -> Key:
    """The account's root, as the sandbox's administrator signs: made anew for each run."""
    return Key(
        access_key="AKIA" + _base32(secrets.token_bytes(10)),
        secret=_base64(secrets.token_bytes(30)),
        principal=Principal(arn=f"arn:{partition}:iam::{account}:root", account=account, user_id=account),
    )


def _base32(random: bytes) -> str:
    """Of ten bytes the sixteen characters that access key ids have after their first four."""
    return base64.b32encode(random).decode("ascii")


def _base64(random: bytes) -> str:
    """Of thirty bytes the forty characters that secret keys have."""
    return base64.b64encode(random).decode("ascii")
