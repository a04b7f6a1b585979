"""Which statements of a document could speak of an action: an index, so that the others are not even looked at.

Source: "IAM JSON policy elements: Action" and "… NotAction", IAM User Guide: case does not count, * and ? are wildcards.
"""

from __future__ import annotations

from collections.abc import Iterable

from towpath.iam.context import EMPTY
from towpath.iam.matching import PatternSet, compile_patterns


class ActionIndex:
    """Places of statements by action. Literal actions are looked up; those with wildcards are tried, only their service's."""

    __slots__ = ("_anywhere", "_literal", "_services")

    def __init__(self, statements: Iterable[tuple[tuple[str, ...] | None, tuple[str, ...] | None]]) -> None:
        """`statements`: Action and NotAction of each, one of them None."""
        self._literal: dict[str, set[int]] = {}
        self._services: dict[str, list[tuple[int, PatternSet]]] = {}
        self._anywhere: list[tuple[int, PatternSet, bool]] = []
        for place, (actions, not_actions) in enumerate(statements):
            if not_actions is not None:
                self._anywhere.append((place, _patterns(not_actions), False))
            else:
                self._add(place, actions or ())

    def _add(self, place: int, actions: tuple[str, ...]) -> None:
        wild: dict[str, list[str]] = {}
        for action in (each.lower() for each in actions):
            service, _, name = action.partition(":")
            if "*" in service or "?" in service:
                wild.setdefault("", []).append(action)
            elif "*" in name or "?" in name:
                wild.setdefault(service, []).append(action)
            else:
                self._literal.setdefault(action, set()).add(place)
        for service, found in wild.items():
            if service:
                self._services.setdefault(service, []).append((place, _patterns(found)))
            else:
                self._anywhere.append((place, _patterns(found), True))

    def places(self, action: str) -> tuple[int, ...]:
        """Places, in order, of the statements whose Action (or NotAction) speaks of `action`, which is given in lower case."""
        places = set(self._literal.get(action, ()))
        for place, patterns in self._services.get(action.partition(":")[0], ()):
            if patterns.match(action, EMPTY):
                places.add(place)
        for place, patterns, wanted in self._anywhere:
            if patterns.match(action, EMPTY) is wanted:
                places.add(place)
        return tuple(sorted(places))


def _patterns(actions: Iterable[str]) -> PatternSet:
    return PatternSet(compile_patterns(actions, variables=False, fold=True))
