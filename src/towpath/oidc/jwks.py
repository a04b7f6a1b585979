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
from towpath.oidc.errors import IssuerUnreachable, TokenCode, TokenError, shown
from towpath.oidc.fetch import Fetcher

TTL: Final = (
    3600.0  # seconds a key set is used without being read again; a retired key is refused after that at the latest
)
REFETCH: Final = 10.0  # seconds between two readings of one issuer's keys that an unknown key id can cause
FAILURE_TTL: Final = 1.0  # seconds a failed fetch is remembered, so that a burst of tokens asks a broken issuer once
ISSUERS: Final = 200  # key sets kept; the least recently used goes first
KEYS: Final = 100  # keys of one set that are looked at

_NEVER: Final = float("-inf")


@dataclass(frozen=True, kw_only=True)
class _KeySet:
    keys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    fetched: float = _NEVER


@dataclass
class _Entry:
    """One issuer. `known` is replaced as a whole, so it is read without the lock; the lock is held while fetching."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    known: _KeySet = field(default_factory=_KeySet)
    tried: float = _NEVER  # when a fetch last ended, well or not
    failure: IssuerUnreachable | TokenError | None = None


class JwksCache:
    """Public keys by issuer and key id. Thread-safe; a slow issuer holds up only those who need it to be asked."""

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        ttl: float = TTL,
        refetch_interval: float = REFETCH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ttl`, `refetch_interval`: seconds. `clock`: seconds, never going back."""
        self._fetcher = fetcher
        self._ttl = ttl
        self._interval = refetch_interval
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def key(self, issuer: str, kid: str) -> Mapping[str, Any]:
        """The public JWK (RFC 7517) as the issuer publishes it.

        Raises TokenError (unknown-key; issuer, for a discovery document of another one), or IssuerUnreachable when the
        issuer has to be asked and cannot be.
        """
        entry = self._entry(issuer)
        # Before the lock: while somebody's unknown kid keeps a slow issuer busy, tokens with known keys go on.
        known = entry.known
        if kid in known.keys and self._fresh(known):
            return known.keys[kid]
        with entry.lock:
            if not self._fresh(entry.known) or (
                kid not in entry.known.keys and self._clock() - entry.tried >= self._interval
            ):
                self._refresh(issuer, entry)
            known = entry.known
            found = known.keys.get(kid)
        if found is None:
            raise self._unknown(issuer, kid, known, entry)
        return found

    def _fresh(self, known: _KeySet) -> bool:
        return self._clock() - known.fetched < self._ttl

    def _entry(self, issuer: str) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(issuer, _Entry())
            self._entries.move_to_end(issuer)
            while len(self._entries) > ISSUERS:
                self._entries.popitem(last=False)
            return entry

    def _refresh(self, issuer: str, entry: _Entry) -> None:
        """Read the issuer's keys, under its lock. A failure is raised again for a moment instead of being met again."""
        if entry.failure is not None and self._clock() - entry.tried < FAILURE_TTL:
            raise _again(entry.failure)
        try:
            keys = _read(issuer, self._fetcher)
        except (IssuerUnreachable, TokenError) as error:
            entry.failure = _again(error)
            raise
        else:
            entry.known, entry.failure = _KeySet(keys=keys, fetched=self._clock()), None
        finally:
            entry.tried = self._clock()

    def _unknown(self, issuer: str, kid: str, known: _KeySet, entry: _Entry) -> TokenError:
        names = sorted(known.keys)
        listed = ", ".join(shown(name) for name in names[:5]) + (
            f" and {len(names) - 5} more" if len(names) > 5 else ""
        )
        now = self._clock()
        return TokenError(
            TokenCode.UNKNOWN_KEY,
            f"the issuer publishes no key {shown(kid)}; it has {listed or 'none'} (read {now - known.fetched:.0f} s ago, "
            f"to be read again for an unknown key in {max(0.0, entry.tried + self._interval - now):.0f} s)",
            where=issuer,
            todo="publish the key the token was signed with beside the new one until every old token has expired",
        )


def _read(issuer: str, fetcher: Fetcher) -> dict[str, Mapping[str, Any]]:
    """Every published key that has a name. Where two have the same one, the first counts."""
    uri = discover(issuer, fetcher).jwks_uri
    document: Any = fetcher.get_json(uri).get("keys")
    if not isinstance(document, list):
        raise IssuerUnreachable(
            "the issuer's key document has no list of keys", where=uri, todo="serve a JWK Set (RFC 7517, section 5)"
        )
    found: dict[str, Mapping[str, Any]] = {}
    for key in cast("list[Any]", document)[:KEYS]:
        if isinstance(key, dict):
            jwk = cast("dict[str, Any]", key)
            kid = jwk.get("kid")
            if isinstance(kid, str) and kid:
                found.setdefault(kid, jwk)
    return found


def _again(error: IssuerUnreachable | TokenError) -> IssuerUnreachable | TokenError:
    """The same error without the first one's traceback, which every further raise would make longer."""
    if isinstance(error, TokenError):
        return TokenError(error.code, error.what, where=error.where, todo=error.todo)
    return IssuerUnreachable(error.what, where=error.where, todo=error.todo)
