"""Facts of the gate's own memory, as the journal keeps them: access keys with whom they stand for, clusters, service accounts.

Each fact is the whole state of one thing, so the last one counts, and an older one of the same thing can be left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, cast

from towpath.iam.decide import NamedPolicy
from towpath.iam.policy import PolicyKind, parse_policy
from towpath.sandbox.clusters import Cluster, Clusters, ServiceAccount
from towpath.sandbox.journal import Fact, Journal
from towpath.sandbox.principals import Key, Keys, Principal

KEY, CLUSTER, ACCOUNT, SECRET = "key", "cluster", "service-account", "secret"
Restore = Callable[[dict[str, Any]], None]


# --- access keys -----------------------------------------------------------------------------------------------------


def follow_keys(keys: Keys, journal: Journal) -> Restore:
    """From now on every change of `keys` is told to the journal. Gives what makes a fact of it true again."""

    def told(access_key: str, key: Key | None, *, active: bool) -> None:
        value = None if key is None else {**_encoded_fields(key), "principal": _encoded_fields(key.principal)}
        journal.add(KEY, {"access_key": access_key, "key": value, "active": active})

    def restore(fact: dict[str, Any]) -> None:
        value = fact["key"]
        key = None
        if value is not None:
            principal = Principal(**{name: _decoded(each) for name, each in value["principal"].items()})
            own = {name: _decoded(each) for name, each in value.items() if name != "principal"}
            key = Key(principal=principal, **own)
        keys.restore(fact["access_key"], key, active=bool(fact["active"]))

    keys.told = told
    return restore


# --- clusters --------------------------------------------------------------------------------------------------------


def follow_clusters(clusters: Clusters, journal: Journal) -> Mapping[str, Restore]:
    """The same for clusters, their issuers' keys, and their service accounts."""

    def told(cluster: Cluster, *, there: bool) -> None:
        journal.add(
            CLUSTER,
            {**_place(cluster), "there": there, "identifier": cluster.identifier, "keys": cluster.exported_keys()},
        )

    def told_account(cluster: Cluster, account: ServiceAccount, *, there: bool) -> None:
        value = {
            **{name: getattr(account, name) for name in ("uid", "created")},
            "annotations": dict(account.annotations),
            "labels": dict(account.labels),
        }
        journal.add(
            ACCOUNT,
            {
                "cluster": _place(cluster),
                "namespace": account.namespace,
                "name": account.name,
                "value": value if there else None,
            },
        )

    def restore(fact: dict[str, Any]) -> None:
        place = {name: str(fact[name]) for name in ("account", "region", "name")}
        if fact["there"]:
            clusters.add(**place).restore(identifier=str(fact["identifier"]), keys=fact["keys"])
        else:
            clusters.remove(**place)

    def restore_account(fact: dict[str, Any]) -> None:
        cluster = clusters.find(**fact["cluster"])
        if cluster is None:
            return
        namespace, name, value = fact["namespace"], fact["name"], fact["value"]
        cluster.restore_account(
            namespace, name, None if value is None else ServiceAccount(namespace=namespace, name=name, **value)
        )

    clusters.told, clusters.told_account = told, told_account
    return {CLUSTER: restore, ACCOUNT: restore_account}


def _place(cluster: Cluster) -> dict[str, str]:
    return {"account": cluster.account, "region": cluster.region, "name": cluster.name}


# --- what no longer counts -------------------------------------------------------------------------------------------


def still_counts(now: datetime) -> Callable[[list[Fact]], list[Fact]]:
    """For `Journal.rewrite`: without the sessions that ended."""
    cut = now.astimezone(UTC).isoformat()

    def keep(facts: list[Fact]) -> list[Fact]:
        return [fact for fact in facts if not (fact[0] == KEY and _ended(fact[1], cut))]

    return keep


def administrator_only(account: str) -> Callable[[list[Fact]], list[Fact]]:
    """For `Journal.rewrite`: with nothing but who the administrator is."""

    def keep(facts: list[Fact]) -> list[Fact]:
        return [fact for fact in facts if fact[0] == SECRET or (fact[0] == KEY and _is_root(fact[1], account))]

    return keep


def _is_root(fact: Mapping[str, Any], account: str) -> bool:
    value = fact["key"]
    if value is None or value["session_token"] is not None:
        return False
    principal = value["principal"]
    return (principal["account"], principal["role"], principal["user"]) == (account, None, None)


def _ended(fact: Mapping[str, Any], cut: str) -> bool:
    value = fact["key"]
    end = value["expires_at"] if value is not None else None
    return end is not None and end["time"] < cut


# --- values ----------------------------------------------------------------------------------------------------------

_POLICY: Final = "policy"


def _encoded_fields(value: Key | Principal) -> dict[str, Any]:
    return {item.name: _encoded(getattr(value, item.name)) for item in fields(value) if item.name != "principal"}


def _encoded(value: object) -> Any:
    """As JSON that says what it was. Raises TypeError for what a principal does not consist of."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime):
        return {"time": value.astimezone(UTC).isoformat()}
    if isinstance(value, NamedPolicy):
        document = value.document
        return {_POLICY: [value.name, document.kind.value, json.dumps(document.source)]}
    if isinstance(value, tuple | list | frozenset | set):
        kind = "set" if isinstance(value, frozenset | set) else "list" if isinstance(value, list) else "tuple"
        return {kind: [_encoded(item) for item in cast("tuple[object, ...]", value)]}
    if isinstance(value, Mapping):
        return {"map": {str(name): _encoded(item) for name, item in cast("Mapping[object, object]", value).items()}}
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, inner)] = cast("dict[str, Any]", value).items()
    if kind == "time":
        return datetime.fromisoformat(inner)
    if kind == _POLICY:
        name, of, text = inner
        return NamedPolicy(name=name, document=parse_policy(text, kind=PolicyKind(of), name=name))
    if kind == "map":
        return {name: _decoded(item) for name, item in inner.items()}
    items = [_decoded(item) for item in inner]
    return frozenset(items) if kind == "set" else items if kind == "list" else tuple(items)
