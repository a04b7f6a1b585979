"""towpath.iam.decide beside another implementation, @cloud-copilot/iam-simulate, case by case.

Where the two differ, AWS's documentation decides: either towpath was wrong and was corrected, or the difference is a rule in
disagreements.py and a row of docs/decision.md. The engine runs in a process of its own and is no part of towpath.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from towpath.iam import grammar

from . import comparison
from .disagreements import RULES, Rule, explained
from .engine import Engine, missing
from .world import decisions

MANY = pytest.mark.parametrize("cases", [5_000, pytest.param(100_000, marks=pytest.mark.long)])
DOCUMENT = Path(__file__).parents[2] / "docs" / "decision.md"
pytestmark = pytest.mark.xdist_group(
    "oracle"
)  # one process: the cases of a run are compared once and looked at by every test


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    if why := missing():
        pytest.skip(why)


@MANY
def test_no_difference_without_a_rule(cases: int) -> None:
    tally = comparison.generated(cases)
    print(f"seed {comparison.SEED}\n{tally}")
    assert tally.cases >= cases - comparison.REQUESTS_OF_A_WORLD
    assert tally.rules.total() < 0.1 * tally.cases, "the rules explain away too much"


@pytest.mark.parametrize("examples", [60, pytest.param(2_000, marks=pytest.mark.long)])
def test_no_difference_in_the_corners(examples: int) -> None:
    comparison.shrinking(examples)


@MANY
def test_the_generator_reaches_everything(cases: int) -> None:
    """Without this the comparison could go on passing while it compares less and less."""
    tally = comparison.generated(cases)
    seen = set(tally.operators)
    for name in grammar.OPERATORS:
        forms = {form for form in seen if form.split(" ")[0].removesuffix("IfExists").rpartition(":")[2] == name}
        assert {form.rpartition(" ")[2] for form in forms} == {"holds", "fails"}, name
        assert any(form.startswith("ForAllValues:") for form in forms), name
        assert any(form.startswith("ForAnyValue:") for form in forms), name
        assert name == "Null" or any("IfExists " in form for form in forms), name
    assert set(tally.policies) == {"identity", "resource", "trust", "boundary", "session", "scp", "rcp", "endpoint"}
    assert set(tally.callers) == {
        "user", "assumed-role", "federated-user", "root", "oidc-provider", "saml-provider", "service", "anonymous",
    }  # fmt: skip
    assert set(tally.elements) == {
        "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
    }  # fmt: skip
    assert set(tally.versions) == {"2012-10-17", "2008-10-17", "None"}
    for part in (tally.policies, tally.callers, tally.versions, tally.accounts):
        assert min(part.values()) > tally.cases // 200, part
    assert 0.3 < tally.outcomes["allowed"] / tally.cases < 0.7
    assert min(tally.outcomes[name] for name in ("implicitDeny", "explicitDeny")) > tally.cases // 20


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_rule_is_still_needed(rule: Rule) -> None:
    """Its example still differs, and this rule is what explains it."""
    with Engine() as engine:
        [theirs] = engine.ask(rule.example)
    [ours] = [decision.outcome.value for decision in decisions(rule.example)]
    assert ours != theirs
    [asked] = rule.example.requests
    assert rule.holds(rule.example, asked)
    assert explained(rule.example, asked, ours, theirs) == rule.name


def test_every_rule_stands_in_the_document_and_no_other() -> None:
    text = DOCUMENT.read_text()
    table = text.partition("## Where the two disagree")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
    assert sorted(rows) == sorted(rule.name for rule in RULES)


def test_without_a_rule_a_difference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: with its rules taken away it does, and shows the case."""
    monkeypatch.setattr("tests.oracle.disagreements.RULES", ())
    monkeypatch.setattr(f"{explained.__module__}.RULES", ())
    with Engine() as engine, pytest.raises(AssertionError, match="iam-simulate"):
        for rule in RULES:
            comparison.compare(engine, rule.example, comparison.Tally())


def test_without_node_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing() is None
    monkeypatch.setenv("PATH", "")
    assert missing() == "the second opinion on decisions needs node, which is not on this machine's PATH"
