"""The sandbox's accounts: every twelve digits are one, empty until it is used, and each has a root key of its own.

IAM state, objects and keys of one account are not another's; the emulator keeps them apart, and the gate tells it whose call it is.
"""

from __future__ import annotations

import threading
from typing import Final

from towpath.errors import UsageError
from towpath.sandbox.principals import Key, Keys, root_key

DIGITS: Final = 12


class Accounts:
    """Accounts by number. Thread-safe."""

    def __init__(self, keys: Keys, *, partition: str) -> None:
        self._keys = keys
        self._partition = partition
        self._roots: dict[str, Key] = {}
        self._lock = threading.Lock()

    def root(self, account: str) -> Key:
        """The key its administrator signs with, made when it is first asked for. Raises UsageError for no account."""
        if len(account) != DIGITS or not (account.isascii() and account.isdecimal()):
            raise UsageError(f"{account[:40]!r} is not an account", where="account", todo="give twelve digits")
        with self._lock:
            if account not in self._roots:
                self._roots[account] = self._keys.add(root_key(account, self._partition))
            return self._roots[account]

    def restore(self) -> None:
        """Know the accounts whose root keys are there already (of an earlier run)."""
        with self._lock:
            self._roots = self._keys.roots()

    def known(self, account: str) -> bool:
        """Whether it was used. What is said of another account's roles cannot be checked."""
        with self._lock:
            return account in self._roots

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._roots)
