"""Issuers' public keys, cached: a time to live, and for an unknown key id one fetch more, at most once an interval.

Keys rotate, so an unknown `kid` has to be looked for; tokens are sent by anybody, so it must not be looked for every time.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from towpath.oidc.discovery import discover
from towpath.oidc.errors import IssuerUnreachable, TokenCode, TokenError
from towpath.oidc.fetch import Fetcher

TTL: Final = 3600.0  # seconds a key set is used without being read again
REFETCH: Final = 10.0  # seconds between two looks for an unknown key of one issuer
FAILURE_TTL: Final = 1.0  # seconds a failed fetch is remembered, so that a burst of tokens asks a broken issuer once
ISSUERS: Final = 200  # key sets kept; the least recently used goes first
KEYS: Final = 100  # keys of one set that are looked at


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    fetched: float = float("-inf")
    sought: float = float("-inf")  # when an unknown key was last looked for
    failed: float = float("-inf")
    failure: IssuerUnreachable | TokenError | None = None


class JwksCache:
    """Public keys by issuer and key id. Thread-safe; a slow issuer holds up only those who ask for its own keys."""

    def __init__(self, fetcher: Fetcher, *, ttl: float = TTL, refetch_interval: float = REFETCH, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher = fetcher
        self._ttl = ttl
        self._interval = refetch_interval
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def key(self, issuer: str, kid: str) -> Mapping[str, Any]:
        """The JWK. Raises TokenError (unknown-key), or IssuerUnreachable when the issuer cannot be asked."""
        entry = self._entry(issuer)
        with entry.lock:
            now = self._clock()
            age = now - entry.fetched
            if age > self._ttl:
                self._refresh(issuer, entry, now)
            elif kid not in entry.keys and now - entry.sought >= self._interval:
                entry.sought = now
                self._refresh(issuer, entry, now)
            found = entry.keys.get(kid)
        if found is None:
            known = ", ".join(sorted(entry.keys)) or "none"
            raise TokenError(TokenCode.UNKNOWN_KEY, f"the issuer publishes no key {kid[:80]!r}; it has {known}", where=issuer, todo="publish the key the token was signed with beside the new one until every old token has expired")
        return found

    def _entry(self, issuer: str) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(issuer, _Entry())
            self._entries.move_to_end(issuer)
            while len(self._entries) > ISSUERS:
                self._entries.popitem(last=False)
            return entry

    def _refresh(self, issuer: str, entry: _Entry, now: float) -> None:
        if entry.failure is not None and now - entry.failed < FAILURE_TTL:
            raise entry.failure
        try:
            document = self._fetcher.get_json(discover(issuer, self._fetcher).jwks_uri)
        except (IssuerUnreachable, TokenError) as error:
            entry.failure, entry.failed = error, now
            raise
        found: Any = document.get("keys")
        keys = cast("list[Any]", found)[:KEYS] if isinstance(found, list) else []
        entry.keys = {str(key["kid"]): cast("Mapping[str, Any]", key) for key in keys if isinstance(key, Mapping) and key.get("kid")}
        entry.fetched, entry.failure = now, None
