"""What the launch benchmark says of known differences: found when they are there, not found when they are not, drift taken out."""

from __future__ import annotations

import random

import pytest
from benchmarks import paired
from benchmarks.paired import Block, Estimate, Turn, Verdict

LAUNCHES, BLOCKS = 20, 12


def blocks(*, more: float, slower: float = 1.0, drift: float = 0.0, noise: float = 0.3, seed: int = 1) -> list[Block]:
    """A machine whose launches take 2 s, `drift` more with each block, give or take `noise`; the measured peer takes `more`."""
    chance = random.Random(seed)

    def turn(number: int, extra: float, rate: float) -> Turn:
        seconds = tuple(2.0 + drift * number + extra + chance.gauss(0, noise) for _ in range(LAUNCHES))
        return Turn(seconds=seconds, rate=rate * chance.gauss(1, 0.02))

    return [(turn(number, more, 4.0 / slower), turn(number, 0.0, 4.0)) for number in range(BLOCKS)]


@pytest.mark.parametrize("drift", [0.0, 1.0, -0.1])
@pytest.mark.parametrize("more", [-0.2, 0.0, 0.1, 0.5])
def test_the_difference_is_found_whatever_the_drift(more: float, drift: float) -> None:
    found = paired.estimate(blocks(more=more, drift=drift), paired.median_difference)
    assert found.low <= more <= found.high
    assert found.value == pytest.approx(more, abs=0.1)


def test_unpaired_medians_of_a_drifting_machine_would_be_wider() -> None:
    """The width is that of the noise within a block, not of what the machine did meanwhile."""
    steady = paired.estimate(blocks(more=0.1), paired.median_difference)
    drifting = paired.estimate(blocks(more=0.1, drift=1.0), paired.median_difference)
    assert drifting.high - drifting.low == pytest.approx(steady.high - steady.low, rel=0.01)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(40):
        found = paired.estimate(blocks(more=0.1, seed=seed), paired.median_difference)
        held += found.low <= 0.1 <= found.high
    assert held >= 33


def test_a_rate_is_found() -> None:
    found = paired.estimate(blocks(more=0.0, slower=1.1), paired.rate_ratio)
    assert found.value == pytest.approx(1 / 1.1, abs=0.02)
    assert found.at_least(0.95) is Verdict.MISSED
    assert paired.estimate(blocks(more=0.0), paired.rate_ratio).at_least(0.95) is Verdict.MET


def test_a_tail_is_found() -> None:
    found = paired.estimate(blocks(more=3.0), paired.tail_difference)
    assert found.low > 1.5
    assert found.at_most(1.0) is Verdict.MISSED


@pytest.mark.parametrize(
    ("low", "high", "at_most", "at_least"),
    [
        (0.0, 0.2, Verdict.MET, Verdict.OPEN),
        (0.1, 0.3, Verdict.OPEN, Verdict.OPEN),
        (0.21, 0.3, Verdict.MISSED, Verdict.MET),
        (0.2, 0.2, Verdict.MET, Verdict.MET),
        (0.0, 0.1, Verdict.MET, Verdict.MISSED),
    ],
)
def test_a_target_inside_the_interval_is_left_open(
    low: float, high: float, at_most: Verdict, at_least: Verdict
) -> None:
    found = Estimate(value=(low + high) / 2, low=low, high=high)
    assert found.at_most(0.2) is at_most
    assert found.at_least(0.2) is at_least


@pytest.mark.parametrize(("low", "high", "verdict"), [(-0.1, 0.1, Verdict.MET), (0.1, 0.3, Verdict.OPEN)])
def test_a_difference_between_the_same_settles_nothing(low: float, high: float, verdict: Verdict) -> None:
    null = Estimate(value=(low + high) / 2, low=low, high=high)
    assert paired.judged(Verdict.MET, null, 0.0) is verdict


def test_no_peer_has_the_better_place() -> None:
    peers = ("ours", "bare", "again")
    orders = [paired.order(peers, block) for block in range(6)]
    for place in range(3):
        assert sorted(each[place] for each in orders) == sorted(peers * 2)
    follows = [(each[i], each[i + 1]) for each in orders for i in range(2)]
    assert {pair: follows.count(pair) for pair in follows} == dict.fromkeys(set(follows), 2)
    assert len(set(follows)) == 6


def test_nothing_measured_is_no_estimate() -> None:
    with pytest.raises(ValueError, match="no blocks"):
        paired.estimate([], paired.median_difference)
