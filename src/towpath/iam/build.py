"""Policies built and merged: our statement beside other people's, never instead of them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from towpath.errors import UsageError
from towpath.iam import partition as partitions

VERSION: Final = "2012-10-17"
SID_PREFIX: Final = "Towpath"
_EC2: Final = frozenset({"ec2.amazonaws.com", "ec2.amazonaws.com.cn"})

Document = dict[str, Any]


def statement_sid(*, cluster: str, namespace: str, service_account: str) -> str:
    """`Towpath` and 16 hex digits of a hash over the three: the same for the same service account, wherever it is run."""
    text = f"{cluster}\0{namespace}\0{service_account}"
    return SID_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:16]


def web_identity_statement(
    *, sid: str, provider_arn: str, issuer: str, subjects: Sequence[str], audience: str, wildcard: bool = False
) -> Document:
    """A trust statement for `subjects` of one issuer: `sub` and `aud` are both conditioned, always.

    `wildcard` moves `sub` alone to StringLike. Raises UsageError for a wildcard that was not asked for by name, and for no subject.
    """
    host = partitions.issuer_host(issuer)
    if not subjects:
        raise UsageError(
            "a trust statement without a subject would trust every service account of the cluster",
            where="subjects",
            todo="name at least one",
        )
    for subject in subjects:
        if not wildcard and ("*" in subject or "?" in subject):
            raise UsageError(
                f"the subject {subject!r} holds a wildcard",
                where="service account",
                todo="ask for it by name (wildcard: true), knowing that every service account it matches can assume the role",
            )
    subject_value = subjects[0] if len(subjects) == 1 else list(subjects)
    audience_condition = {f"{host}:aud": audience}
    subject_condition = {f"{host}:sub": subject_value}
    condition = (
        {"StringEquals": audience_condition, "StringLike": subject_condition}
        if wildcard
        else {"StringEquals": {**audience_condition, **subject_condition}}
    )
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"Federated": provider_arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    }


def policy(statements: Sequence[Mapping[str, Any]]) -> Document:
    return {"Version": VERSION, "Statement": [copy.deepcopy(dict(item)) for item in statements]}


def is_bootstrap_statement(statement: Mapping[str, Any]) -> bool:
    """Whether this is exactly the statement a role is first made with for EC2: any instance given the role could use it."""
    if set(statement) - {"Sid"} != {"Effect", "Principal", "Action"}:
        return False
    principal = statement["Principal"]
    if not isinstance(principal, Mapping) or set(cast("Mapping[str, Any]", principal)) != {"Service"}:
        return False
    service = _listed(cast("Mapping[str, Any]", principal)["Service"])
    return (
        statement["Effect"] == "Allow"
        and len(service) == 1
        and service[0] in _EC2
        and _listed(statement["Action"]) == ["sts:AssumeRole"]
    )


def statements_of(document: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The statements as they stand, whether Statement is a list or a single object."""
    return [cast("Mapping[str, Any]", item) for item in _listed((document or {}).get("Statement", []))]


def merge_statement(document: Mapping[str, Any] | None, statement: Mapping[str, Any]) -> Document:
    """`document` with `statement` in it: in the place of the one with the same Sid, else behind the last.

    Every other statement stays equal as a JSON value, and in its order.
    """
    ours = copy.deepcopy(dict(statement))
    if not document:
        return policy([ours])
    merged = copy.deepcopy(dict(document))
    found = statements_of(merged)
    places = [index for index, item in enumerate(found) if item.get("Sid") == ours.get("Sid")]
    if places:
        found[places[0]] = ours
    else:
        found.append(ours)
    single = len(found) == 1 and isinstance(merged.get("Statement"), Mapping)
    merged["Statement"] = found[0] if single else found
    return merged


def remove_statements(document: Mapping[str, Any], unwanted: Callable[[Mapping[str, Any]], bool]) -> Document | None:
    """`document` without the statements that are `unwanted`; None when none would remain."""
    kept = [item for item in statements_of(document) if not unwanted(item)]
    if not kept:
        return None
    out = copy.deepcopy(dict(document))
    if len(kept) != len(statements_of(document)):
        out["Statement"] = copy.deepcopy(kept)
    return out


def remove_statement(document: Mapping[str, Any], sid: str) -> Document | None:
    """`document` without the statement of that Sid; None when no other remains."""
    return remove_statements(document, lambda item: item.get("Sid") == sid)


def _listed(value: object) -> list[Any]:
    return list(cast("list[Any]", value)) if isinstance(value, list) else [value]
