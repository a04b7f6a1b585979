"""Two peers measured in turn, block by block, and what can be said of the difference: an estimate, its interval, and the noise.

A block holds as many launches of each peer, one peer right after the other, in an order that changes from block to block; launch i of
one is paired with launch i of the other. The interval is a bootstrap over whole blocks, because the launches of one block share the
machine's mood. One peer measured against itself in the same blocks tells how much of any difference is the machine's.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RESAMPLES: Final = 2_000
CERTAINTY: Final = 0.95
SEED: Final = 20_261_125


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One peer's share of one block: seconds of each launch in the order they were accepted, and launches a second over it."""

    seconds: tuple[float, ...]
    rate: float


Block = tuple[Turn, Turn]  # the peer that is measured, and the one it is measured against
Statistic = Callable[[Sequence[Block]], float]


class Verdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    OPEN = "this machine cannot tell"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`low` to `high` holds the true value in CERTAINTY of all runs like this one."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def at_most(self, target: float) -> Verdict:
        if self.high <= target:
            return Verdict.MET
        return Verdict.MISSED if self.low > target else Verdict.OPEN

    def at_least(self, target: float) -> Verdict:
        if self.low >= target:
            return Verdict.MET
        return Verdict.MISSED if self.high < target else Verdict.OPEN


def judged(verdict: Verdict, null: Estimate, nothing: float) -> Verdict:
    """The verdict, unless the null measurement finds a difference where there is none: `nothing` is what no difference looks like."""
    return verdict if null.holds(nothing) else Verdict.OPEN


def order(peers: Sequence[str], block: int) -> list[str]:
    """The peers' order in a block: each comes first equally often, and each follows each equally often."""
    shift = block % len(peers)
    turned = [*peers[shift:], *peers[:shift]]
    return turned if block // len(peers) % 2 == 0 else turned[::-1]


def median_difference(blocks: Sequence[Block]) -> float:
    """Seconds: the median over all pairs."""
    return statistics.median(
        one - other for ours, peers in blocks for one, other in zip(ours.seconds, peers.seconds, strict=True)
    )


def tail_difference(blocks: Sequence[Block]) -> float:
    """Seconds between the two peers' 99th percentiles over all launches; a tail has no pairs."""
    ours, peers = ([value for block in blocks for value in block[side].seconds] for side in (0, 1))
    return percentile(ours, 0.99) - percentile(peers, 0.99)


def rate_ratio(blocks: Sequence[Block]) -> float:
    """The median over blocks of one peer's rate by the other's."""
    return statistics.median(ours.rate / peers.rate for ours, peers in blocks)


def estimate(blocks: Sequence[Block], statistic: Statistic, *, seed: int = SEED) -> Estimate:
    """Raises ValueError for no blocks."""
    if not blocks:
        raise ValueError("no blocks were measured")
    chance = random.Random(seed)
    drawn = sorted(statistic(chance.choices(blocks, k=len(blocks))) for _ in range(RESAMPLES))
    edge = (1 - CERTAINTY) / 2
    return Estimate(value=statistic(blocks), low=percentile(drawn, edge), high=percentile(drawn, 1 - edge))


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
