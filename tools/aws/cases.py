"""The cases as data: tests/aws/cases/*.yaml, read and expanded. The sandbox's own tests run the same list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tools.aws.signing import Signing

# What not every run has, and how it is had.
NEEDS: Final = {
    "web identity": "give --issuer-bucket",
    "second account": "give TOWPATH_TEST_AWS_OTHER and TOWPATH_TEST_AWS_OTHER_PROFILE",
    "a user's keys": "the credentials are a role's session, which no role of more than an hour can be assumed from",
}
DIRECTORY: Final = Path(__file__).resolve().parents[2] / "tests" / "aws" / "cases"


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role of one case: inline statements, and besides what CreateRole takes. Without `trust` its account may assume it.

    `account`: "other" for a role of the second account. Roles are made in their order: one that another names comes first.
    """

    name: str
    account: str = ""
    statements: tuple[Mapping[str, Any], ...] = ()
    trust: Mapping[str, Any] | None = None
    boundary: tuple[Mapping[str, Any], ...] | None = None
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request. `who`: admin, anonymous, unsigned, wrong-secret, unknown-key, or a role of the case with what AssumeRole takes.

    `code`: the error expected, "" for none; `message`: how its text begins; `keys`: how DeleteObjects' word on each key begins, by key.
    `wait`: what the step before it changed has to be known everywhere before this one is asked.
    """

    call: str  # s3.get_object
    arguments: Mapping[str, Any]
    who: str = "admin"
    session: Mapping[str, Any] = field(default_factory=dict[str, Any])
    code: str = ""
    message: str = ""
    presigned: Mapping[str, str] | None = None  # texts of the URL to exchange before it is used
    signed: Signing | None = None
    keys: tuple[str, ...] = ()
    wait: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """`needs`: one of NEEDS, or "" for what every account has."""

    name: str
    roles: tuple[Role, ...]
    steps: tuple[Step, ...]
    needs: str = ""


def load(directory: Path = DIRECTORY) -> list[Case]:
    """Every case, in the order of the files. A row with `permission` becomes two: allowed with it alone, refused with all but it."""
    out: list[Case] = []
    for file in sorted(directory.glob("*.yaml")):
        for row in yaml.safe_load(file.read_text(encoding="utf-8")):
            out.append(_permission(row) if "permission" in row else _case(row))  # noqa: PERF401 - two loops in one line say less
    names = [case.name for case in out]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two cases have the name {min(twice)}")
    return out


def _case(row: Mapping[str, Any]) -> Case:
    roles = tuple(
        Role(
            name=item["name"],
            account=item.get("account", ""),
            statements=tuple(item.get("statements", ())),
            trust=item.get("trust"),
            boundary=tuple(item["boundary"]) if "boundary" in item else None,
            more=item.get("more", {}),
        )
        for item in row.get("roles", ())
    )
    if row.get("needs", "") not in {"", *NEEDS}:
        raise ValueError(f"{row['case']} needs {row['needs']}, which is none of {', '.join(NEEDS)}")
    return Case(
        name=row["case"], roles=roles, steps=tuple(_step(item) for item in row["steps"]), needs=row.get("needs", "")
    )


def _step(item: Mapping[str, Any]) -> Step:
    who = item.get("as", "admin")
    session = {key: value for key, value in who.items() if key != "role"} if isinstance(who, dict) else {}
    return Step(
        call=item["call"],
        arguments=item.get("with", {}),
        who=who["role"] if isinstance(who, dict) else who,
        session=session,
        code=item.get("code", ""),
        message=item.get("message", ""),
        presigned=item.get("presigned"),
        signed=Signing(**item["signed"]) if "signed" in item else None,
        keys=tuple(item.get("keys", ())),
        wait=item.get("wait", False),
    )


def _permission(row: Mapping[str, Any]) -> Case:
    action, on = row["permission"], row["resource"]
    resource = {"bucket": "arn:${partition}:s3:::${bucket}", "object": "arn:${partition}:s3:::${bucket}/raw/*"}.get(
        on, on
    )
    arguments = row.get("with", {})
    head = ".head_" in row["call"]
    return Case(
        name=f"{row['call']} needs {action}",
        roles=(
            Role(name="right", statements=({"Effect": "Allow", "Action": action, "Resource": resource},)),
            Role(name="wrong", statements=({"Effect": "Allow", "NotAction": action, "Resource": "*"},)),
        ),
        steps=(
            Step(call=row["call"], arguments=arguments, who="right", code=row.get("code", "")),
            Step(
                call=row["call"],
                arguments=arguments,
                who="wrong",
                code="403" if head else "AccessDenied",
                message="" if head else "User: ",
            ),
        ),
    )
