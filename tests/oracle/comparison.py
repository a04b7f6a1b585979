"""The comparison itself: both sides asked, each difference explained by a rule or raised, and a tally of what was reached."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from towpath.iam import grammar
from towpath.iam.conditions import compile_condition
from towpath.iam.context import Context
from towpath.iam.policy import PolicyError

from .disagreements import explained
from .engine import Engine
from .reduction import smallest
from .strategies import REQUESTS_OF_A_WORLD, drawn, worlds
from .world import Asked, World, decisions

SEED = int(os.environ.get("TOWPATH_ORACLE_SEED", "1"))


@dataclass
class Tally:
    """What the cases of a run were made of, each counted once a case."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    operators: Counter[str] = field(default_factory=Counter[str])  # "ForAnyValue:StringLikeIfExists holds"
    policies: Counter[str] = field(default_factory=Counter[str])
    callers: Counter[str] = field(default_factory=Counter[str])
    elements: Counter[str] = field(default_factory=Counter[str])
    versions: Counter[str] = field(default_factory=Counter[str])
    accounts: Counter[str] = field(default_factory=Counter[str])
    rules: Counter[str] = field(default_factory=Counter[str])  # differences, by the rule that explains them

    def add(self, world: World, asked: Asked, outcome: str) -> None:
        self.cases += 1
        self.outcomes[outcome] += 1
        self.callers[_kind(asked)] += 1
        self.accounts["same" if (asked.principal or "").find(asked.account) >= 0 else "other"] += 1
        self.policies.update(
            {kind if kind != "resource" or not world.trust else "trust" for kind, _ in world.documents()}
        )
        self.versions.update({str(document.get("Version")) for _, document in world.documents()})
        self.elements.update({key for _, _, statement in world.statements() for key in statement})
        context = Context(asked.context)
        for document, operator, key, values in world.conditions():
            quantifier, base, if_exists = grammar.split_operator(operator) or (None, operator, False)
            name = f"{quantifier + ':' if quantifier else ''}{base}{'IfExists' if if_exists else ''}"
            variables = document.get("Version") == "2012-10-17"
            holds = compile_condition(operator, key, tuple(values), variables=variables).holds(context)
            self.operators[f"{name} {'holds' if holds else 'fails'}"] += 1

    def __str__(self) -> str:
        lines = [f"{self.cases} cases"]
        for name in ("outcomes", "policies", "callers", "accounts", "versions", "elements", "rules"):
            found: Counter[str] = getattr(self, name)
            lines.append(f"{name}: " + ", ".join(f"{key} {count}" for key, count in found.most_common()))
        lines.append(f"operators: {len(self.operators)} forms, the rarest {self.operators.most_common()[-3:]}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One request, what each side answers, and the rule that explains it."""

    world: World  # with this one request
    ours: str
    theirs: str
    rule: str | None


def _kind(asked: Asked) -> str:
    text = asked.principal
    if text is None:
        return "anonymous"
    for mark in (":user/", ":assumed-role/", ":federated-user/", ":root", "oidc-provider/", "saml-provider/"):
        if mark in text:
            return mark.strip(":/")
    return "service"


def differences(engine: Engine, world: World) -> Iterator[Difference]:
    """Every request on which the two sides differ."""
    ours = [decision.outcome.value for decision in decisions(world)]
    for asked, mine, other in zip(world.requests, ours, engine.ask(world), strict=True):
        if mine != other:
            alone = world.alone(asked)
            yield Difference(world=alone, ours=mine, theirs=other, rule=explained(alone, asked, mine, other))


def compare(engine: Engine, world: World, tally: Tally) -> None:
    """Raises AssertionError, with the smallest such world as JSON, for a difference that no rule explains."""
    for asked, decision in zip(world.requests, decisions(world), strict=True):
        tally.add(world, asked, decision.outcome.value)
    for difference in differences(engine, world):
        assert difference.rule is not None, _shown(engine, difference)
        tally.rules[difference.rule] += 1


def _shown(engine: Engine, difference: Difference) -> str:
    found = smallest(difference.world, lambda other: _same(engine, other, difference))
    world = json.dumps(found.as_json(), ensure_ascii=False)
    return f"towpath {difference.ours}, iam-simulate {difference.theirs}, seed {SEED}: {world}"


def _same(engine: Engine, world: World, wanted: Difference) -> bool:
    try:
        found = list(differences(engine, world))
    except PolicyError:
        return False
    return [(each.ours, each.theirs, each.rule) for each in found] == [(wanted.ours, wanted.theirs, None)]


@lru_cache(maxsize=2)
def generated(cases: int) -> Tally:
    """Compare that many generated cases; the seed is TOWPATH_ORACLE_SEED's, or 1. A difference is shown made as small as it can be."""
    tally = Tally()
    with Engine() as engine:
        for world in islice(drawn(SEED), -(-cases // REQUESTS_OF_A_WORLD)):
            compare(engine, world, tally)
    return tally


def shrinking(examples: int) -> None:
    """The same comparison driven by hypothesis, which looks for corners; its own shrinking."""
    with Engine() as engine:

        @seed(SEED)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            verbosity=Verbosity.quiet,  # the assertion has the world as JSON
        )
        @given(worlds())
        def run(world: World) -> None:
            compare(engine, world, Tally())

        run()
