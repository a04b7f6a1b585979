"""Faults: what a rule may say, and that the same seed fails the same calls."""

from __future__ import annotations

import pytest

from towpath.errors import UsageError
from towpath.sandbox.faults import Fault, Faults, InjectedFault


def struck(faults: Faults, action: str, calls: int) -> list[bool]:
    out: list[bool] = []
    for _ in range(calls):
        try:
            faults.strike(action)
            out.append(False)
        except InjectedFault:
            out.append(True)
    return out


def test_first_of_every_few() -> None:
    faults = Faults((Fault.parse("s3:PutObject:SlowDown:1/3"),))
    assert struck(faults, "s3:PutObject", 7) == [True, False, False, True, False, False, True]
    assert struck(faults, "s3:GetObject", 3) == [False] * 3
    assert faults.as_json() == [{"fail": "s3:PutObject:SlowDown:1/3", "calls": 7}]


def test_a_fraction_by_seed() -> None:
    rules = (Fault.parse("s3:PutObject:SlowDown:0.3"),)
    first, again, other = (struck(Faults(rules, seed=seed), "s3:PutObject", 1000) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert 250 < sum(first) < 350
    assert struck(Faults((Fault.parse("s3:PutObject:SlowDown:1"),)), "s3:PutObject", 3) == [True] * 3


def test_another_rules_calls_change_nothing() -> None:
    rule = Fault.parse("s3:PutObject:SlowDown:0.5")
    alone = Faults((rule,))
    both = Faults((rule, Fault.parse("s3:GetObject:SlowDown:0.5")))
    expected = struck(alone, "s3:PutObject", 50)
    found: list[bool] = []
    for _ in range(50):
        found += struck(both, "s3:PutObject", 1)
        struck(both, "s3:GetObject", 1)
    assert found == expected


def test_all_of_a_service_and_cleared() -> None:
    faults = Faults((Fault.parse("STS:*:Throttling:1"),))
    with pytest.raises(InjectedFault) as caught:
        faults.strike("sts:AssumeRoleWithWebIdentity")
    assert (caught.value.code, caught.value.status, caught.value.message) == ("Throttling", 400, "Rate exceeded")
    assert "injected by sts:*:Throttling:1" in caught.value.why
    assert faults.clear() == 1
    faults.strike("sts:AssumeRoleWithWebIdentity")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3:PutObject:SlowDown", "is not service:action:code:rate"),
        ("s3:PutObject::1", "is not service:action:code:rate"),
        ("s3:Put Object:SlowDown:1", "is not an action"),
        ("s3:ListObjectsV2:SlowDown:1", "the action that permits it is ListBucket"),
        ("s3:PutObjekt:SlowDown:1", "did you mean PutObject"),
        ("s3:PutObject:Slowdown:1", "did you mean SlowDown"),
        ("s3:PutObject:Throttling:1", "is no error of s3"),
        ("iam:GetRole:IDPCommunicationError:1", "is no error of iam"),
        ("s3:PutObject:SlowDown:0", "is no rate"),
        ("s3:PutObject:SlowDown:2", "is no rate"),
        ("s3:PutObject:SlowDown:3/2", "is no rate"),
        ("s3:PutObject:SlowDown:0/2", "is no rate"),
        ("s3:PutObject:SlowDown:nan", "is no rate"),
        ("s3:PutObject:SlowDown:-0.1", "is no rate"),
    ],
)
def test_rules_are_judged(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Fault.parse(text)
