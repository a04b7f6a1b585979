"""AWS's own managed policies, each asked about actions and resources drawn from itself, both sides compared.

moto ships them. Their documents are AWS's, so every one of them has to be read without a complaint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest

from towpath.iam.policy import PolicyKind, parse_policy

from . import catalogue
from .comparison import Tally, compare
from .engine import Engine, missing
from .world import Asked, World

SEED = 1
REQUESTS = 12
SINGLE = {**catalogue.SINGLE, "aws:ResourceAccount": (catalogue.HOME,), "aws:PrincipalAccount": (catalogue.HOME,)}


def documents() -> dict[str, Mapping[str, Any]]:
    source = pytest.importorskip(
        "moto.iam.aws_managed_policies", reason="moto, whose copy of AWS's policies this reads"
    )
    return {name: found["Document"] for name, found in sorted(json.loads(source.aws_managed_policies_data).items())}


def listed(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []


def concrete(random: Random, pattern: str) -> str:
    """Something the pattern may match: its wildcards and variables filled in, sometimes spoiled afterwards."""
    text = re.sub(r"\$\{[^}]*\}", "ann", pattern)
    text = re.sub(r"[*?]", lambda found: random.choice(("x", "a-1", "Q")) if found[0] == "*" else "y", text)
    return text + "z" if random.random() < 0.1 else text


def context(random: Random, statements: list[Mapping[str, Any]]) -> dict[str, str | list[str]]:
    """Values for the keys the policy asks about, often what it wants."""
    out: dict[str, str | list[str]] = {}
    for statement in statements:
        for operator, keys in statement.get("Condition", {}).items():
            for key, values in keys.items():
                if random.random() < 0.8:
                    found = [str(value) for value in (values if isinstance(values, list) else [values])]
                    text = concrete(random, random.choice(found))
                    out[key] = [text, "other"] if operator.startswith("For") and random.random() < 0.4 else text
    for key, pool in SINGLE.items():
        if random.random() < 0.2:
            out.setdefault(key, random.choice(pool))
    return out


def worlds(step: int) -> Iterator[tuple[str, World]]:
    random = Random(SEED)
    for name, document in list(documents().items())[::step]:
        statements: list[Mapping[str, Any]] = (
            document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
        )
        requests: list[Asked] = []
        for _ in range(REQUESTS):
            statement, other = random.choice(statements), random.choice(statements)
            actions = listed(statement.get("Action")) or listed(statement.get("NotAction"))
            resources = listed((statement if random.random() < 0.8 else other).get("Resource"))
            action = concrete(random, random.choice(actions))
            resource = concrete(random, random.choice(resources or ["*"]))
            if ":" not in action:
                action = "s3:GetObject"
            if resource.count(":") < 5:
                resource = "arn:aws:s3:::lake/ann/x"
            who = random.choice(catalogue.USERS[:4])
            requests.append(
                Asked(
                    action=action,
                    resource=resource,
                    account=catalogue.HOME,
                    principal=who.principal,
                    role_arn=who.role_arn,
                    context=context(random, statements),
                )
            )
        yield name, World(identity=(document,), requests=tuple(requests))


def test_every_managed_policy_can_be_read() -> None:
    found = documents()
    assert len(found) > 1500
    for name, document in found.items():
        assert parse_policy(document, kind=PolicyKind.IDENTITY, name=name).statements


@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.long)], ids=["a tenth", "all"])
def test_managed_policies(step: int) -> None:
    if why := missing():
        pytest.skip(why)
    tally = Tally()
    with Engine() as engine:
        for name, world in worlds(step):
            try:
                compare(engine, world, tally)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None
    print(tally)
    assert tally.cases == len(list(documents())[::step]) * REQUESTS
    assert 0.3 < tally.outcomes["allowed"] / tally.cases < 0.9
