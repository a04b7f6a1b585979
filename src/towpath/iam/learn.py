"""From what a run asked for to the least policy that allows exactly that.

A call's permissions are those it needed, on the resources it named. S3 is told apart: ListBucket names only the bucket, so what was listed is
kept by the condition key s3:prefix ("Actions, resources, and condition keys for Amazon S3"). Names are written so that IAM reads them
literally: `*`, `?` and `${` in an object's key as `${*}`, `${?}` and `${$}{` ("IAM policy elements: Variables and tags").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from towpath.errors import UsageError
from towpath.iam import build

_PREFIXED: Final = frozenset({"s3:ListBucket", "s3:ListBucketVersions"})
_OBJECT: Final = re.compile(r"(arn:[^:]+:s3:::[^/]+/)(.*)", re.DOTALL)
_SESSION: Final = re.compile(r"arn:[^:]+:sts::(\d{12}):assumed-role/([^/]+)/")
_ROLE: Final = re.compile(r"arn:[^:]+:iam::(\d{12}):role/(?:.*/)?([^/]+)")
_READING: Final = ("s3:GetObject", "s3:GetObjectVersion")


@dataclass(frozen=True, kw_only=True)
class Permission:
    """One action on one resource; of a listing the prefix, None where there was none."""

    action: str
    resource: str
    prefix: str | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the record says of one principal."""

    permissions: frozenset[Permission]
    calls: int  # allowed ones
    refused: tuple[Mapping[str, Any], ...]  # those that were denied, or never came to a decision, as they were recorded
    others: tuple[str, ...]  # who else stands in the record
    first: int | None  # number of the record's oldest call


def observe(calls: Sequence[Mapping[str, Any]], *, principal: str, after: int = 0) -> Observed:
    """The calls of a role (its name or ARN), a session, a user (ARN) or `root`. Raises UsageError for what is no call record."""
    permissions: set[Permission] = set()
    refused: list[Mapping[str, Any]] = []
    others: list[str] = []
    allowed = 0
    for call in calls:
        number, who, decision = _field(call, "number", int), _field(call, "who", str), _field(call, "decision", str)
        if number <= after:
            continue
        if not is_by(who, principal):
            if who not in others:
                others.append(who)
            continue
        needs = cast("Sequence[Mapping[str, Any]]", _field(call, "needs", (list, tuple)))
        # What was permitted and then failed (a key that is not there, a document that is malformed) needed its permission too.
        if decision == "allowed" or (decision == "refused" and needs and all(_was_allowed(need) for need in needs)):
            allowed += 1
            for need in needs:
                permissions |= _permission(need)
            if call.get("status") == 404:
                permissions |= _to_be_told_of_absence(call)
        elif decision in {"denied", "refused"}:
            refused.append(call)
    numbers = [_field(call, "number", int) for call in calls]
    return Observed(
        permissions=frozenset(permissions),
        calls=allowed,
        refused=tuple(refused),
        others=tuple(others),
        first=min(numbers, default=None),
    )


def is_by(who: str, principal: str) -> bool:
    """Whether a call recorded as by `who` is by the principal a person names."""
    if who == principal or (principal == "root" and who.endswith(":root")):
        return True
    session = _SESSION.match(who)
    if session is None:
        return who.startswith("arn:") and who.partition(":user/")[2] == principal
    role = _ROLE.fullmatch(principal)
    return session.groups() == role.groups() if role else session[2] == principal


AUTOMATIC: Final = ("prefix",)  # generalise: one directory for each first part of the keys


def policy(permissions: Iterable[Permission], *, generalise: Sequence[str] = ()) -> dict[str, Any]:
    """The document. `generalise`: prefixes; what begins with one of them becomes that prefix and `*`. AUTOMATIC: as they are found.

    Raises UsageError when there is nothing to allow.
    """
    listings: dict[tuple[str, str], set[str | None]] = {}
    resources: dict[str, set[str]] = {}
    for permission in permissions:
        if permission.action in _PREFIXED:
            listings.setdefault((permission.action, permission.resource), set()).add(permission.prefix)
        else:
            resources.setdefault(permission.action, set()).add(permission.resource)
    if not listings and not resources:
        raise UsageError(
            "nothing is left to learn: no call of this principal was allowed",
            where="the call record",
            todo="run the job first, under a policy that lets it through, or name another principal",
        )
    statements = [*_on_resources(resources, generalise=generalise), *_of_listings(listings, generalise=generalise)]
    return build.policy(
        [{"Sid": f"Learned{number}", "Effect": "Allow", **body} for number, body in enumerate(statements, 1)]
    )


def _on_resources(found: Mapping[str, set[str]], *, generalise: Sequence[str]) -> list[dict[str, Any]]:
    """Actions on exactly the same resources stand in one statement, so that none is allowed more than it used."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for action, resources in found.items():
        written = _directories(resources, generalise) if generalise else {_literal(resource) for resource in resources}
        grouped.setdefault(tuple(sorted(written)), []).append(action)
    return [
        {"Action": _one_or_list(sorted(actions)), "Resource": _one_or_list(resources)}
        for resources, actions in sorted(grouped.items())
    ]


def _of_listings(
    found: Mapping[tuple[str, str], set[str | None]], *, generalise: Sequence[str]
) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, tuple[str, ...] | None], list[str]] = {}
    for (action, bucket), prefixes in found.items():
        # A listing without a prefix, or of the empty one, showed the whole bucket: no condition could allow it and less.
        named = {prefix for prefix in prefixes if prefix}
        whole = len(named) < len(prefixes)
        written = _folded(named, generalise) if generalise else {_escaped(prefix) for prefix in named}
        grouped.setdefault((bucket, None if whole else tuple(sorted(written))), []).append(action)
    out: list[dict[str, Any]] = []
    for (bucket, prefixes), actions in sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1] or ())):
        body: dict[str, Any] = {"Action": _one_or_list(sorted(actions)), "Resource": bucket}
        if prefixes is not None:
            operator = "StringLike" if any(_has_wildcard(prefix) for prefix in prefixes) else "StringEquals"
            body["Condition"] = {operator: {"s3:prefix": _one_or_list(prefixes)}}
        out.append(body)
    return out


def _directories(resources: Iterable[str], prefixes: Sequence[str]) -> set[str]:
    """Objects' ARNs by bucket, folded; every other resource as it is."""
    out: set[str] = set()
    keys: dict[str, set[str]] = {}
    for resource in resources:
        if match := _OBJECT.fullmatch(resource):
            keys.setdefault(match[1], set()).add(match[2])
        else:
            out.add(_literal(resource))
    return out | {f"{bucket}{pattern}" for bucket, found in keys.items() for pattern in _folded(found, prefixes)}


def _folded(keys: Iterable[str], prefixes: Sequence[str]) -> set[str]:
    """`raw/a/1` and `raw/b/2` -> `raw/*`; a key without a slash, or with none of the prefixes given, stays itself."""
    out: set[str] = set()
    if tuple(prefixes) != AUTOMATIC:
        for key in keys:
            found = next((prefix for prefix in sorted(prefixes, key=len) if key.startswith(prefix)), None)
            out.add(_escaped(key) if found is None else _escaped(found) + "*")
        return out
    groups: dict[str, list[list[str]]] = {}
    for key in keys:
        first, slash, _ = key.partition("/")
        if slash:
            groups.setdefault(first, []).append(key.split("/")[:-1])
        else:
            out.add(_escaped(key))
    for paths in groups.values():
        common = paths[0]
        for path in paths[1:]:
            same = next(
                (i for i, (a, b) in enumerate(zip(common, path, strict=False)) if a != b), min(len(common), len(path))
            )
            common = common[:same]
        out.add(_escaped("/".join(common)) + "/*")
    return out


def _permission(need: object) -> set[Permission]:
    """One, or none for what one request among several things was refused (DeleteObjects goes on without a key)."""
    if not _was_allowed(need):
        return set()
    found = cast("Mapping[str, Any]", need) if isinstance(need, Mapping) else {}
    action, resource = _field(found, "action", str), _field(found, "resource", str)
    if action not in _PREFIXED:
        return {Permission(action=action, resource=resource)}
    context = cast("Mapping[str, Any]", _field(found, "context", Mapping))
    prefix = context.get("s3:prefix")
    return {Permission(action=action, resource=resource, prefix=None if prefix is None else str(prefix))}


def _was_allowed(need: object) -> bool:
    return not isinstance(need, Mapping) or cast("Mapping[str, Any]", need).get("allowed") is not False


def _to_be_told_of_absence(call: Mapping[str, Any]) -> set[Permission]:
    """An object that is not there is a 404 only to who may list the bucket, and a 403 to everybody else ("GetObject", S3 API reference)."""
    out: set[Permission] = set()
    for need in call["needs"]:
        match = _OBJECT.fullmatch(str(need["resource"]))
        if match and need["action"] in _READING:
            out.add(Permission(action="s3:ListBucket", resource=match[1][:-1]))
    return out


def _field(found: Mapping[str, Any], name: str, kind: type[Any] | tuple[type[Any], ...]) -> Any:
    value = found.get(name)
    if not isinstance(value, kind):
        raise UsageError(
            f"this is no call record: a call has no {name}",
            where="the call record",
            todo="make one with `towpath sandbox calls --json --last 10000 > calls.json`",
        )
    return value


def _literal(resource: str) -> str:
    match = _OBJECT.fullmatch(resource)
    return match[1] + _escaped(match[2]) if match else resource


def _escaped(text: str) -> str:
    return re.sub(r"\$(?=\{)|[*?]", lambda match: f"${{{match[0]}}}", text)


def _has_wildcard(text: str) -> bool:
    return bool(re.search(r"[*?]", re.sub(r"\$\{[*?$]\}", "", text)))


def _one_or_list(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
