"""What a lint rule is and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, cast

from towpath.iam import grammar
from towpath.iam.policy import PolicyDocument, PolicyKind, Statement


class Severity(StrEnum):
    ERROR = "error"  # it does not do what it says, or it opens everything
    WARNING = "warning"  # it does what it says, and that is risky
    NOTE = "note"  # it could be said better


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing to change: which rule found it, where in the document, why it matters, what to write instead."""

    rule: str
    severity: Severity
    path: str
    what: str
    instead: str


class Catalogue(Protocol):
    """AWS's services and their operations, as somebody knows them. iam itself holds no such list but S3's."""

    def services(self) -> frozenset[str]:
        """Prefixes of actions, in lower case."""
        ...

    def operations(self, service: str) -> frozenset[str] | None:
        """Names of the service's operations; None when nothing is known of it."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One operator and key. `written` is the operator as it stands there, `operator` without quantifier and IfExists."""

    path: str
    written: str
    quantifier: str | None
    operator: str
    if_exists: bool
    key: str
    values: tuple[str, ...]

    @property
    def negated(self) -> bool:
        return "Not" in self.operator

    @property
    def wants_absence(self) -> bool:
        return self.operator == "Null" and self.values[0].lower() == "true"

    @property
    def fails_when_missing(self) -> bool:
        if self.operator == "Null":
            return not self.wants_absence
        if self.quantifier == "ForAnyValue":
            return True
        return not (self.if_exists or self.negated or self.quantifier == "ForAllValues")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One statement in its document."""

    document: PolicyDocument
    statement: Statement
    path: str  # Statement[0]
    catalogue: Catalogue | None = None

    @property
    def source(self) -> Mapping[str, Any]:
        return self.statement.source

    @property
    def allows(self) -> bool:
        return self.statement.effect == "Allow"

    def texts(self, element: str) -> Iterator[tuple[str, str]]:
        """(path, text) of an element that is a string or a list of strings."""
        value = self.source.get(element)
        if isinstance(value, str):
            yield f"{self.path}.{element}", value
        elif isinstance(value, list):
            for index, text in enumerate(cast("list[str]", value)):
                yield f"{self.path}.{element}[{index}]", text

    def conditions(self) -> Iterator[Condition]:
        for found in self.statement.conditions:
            quantifier, operator, if_exists = grammar.split_operator(found.operator) or (None, found.operator, False)
            yield Condition(
                path=f"{self.path}.Condition.{found.operator}.{found.key}",
                written=found.operator,
                quantifier=quantifier,
                operator=operator,
                if_exists=if_exists,
                key=found.key,
                values=found.values,
            )

    def condition_keys(self) -> frozenset[str]:
        return frozenset(condition.key.lower() for condition in self.conditions())

    def requires(self, key: str) -> bool:
        """Whether some condition of the statement fails when `key` is missing from the request."""
        return any(
            condition.key.lower() == key.lower() and condition.fails_when_missing for condition in self.conditions()
        )


Hit = tuple[str, str, str]  # path, what, instead
Check = Callable[[Place], Iterable[Hit]]
EVERY: Final = frozenset(PolicyKind)
# What gives permissions; the others only limit them, so that a wide Allow in one of them gives nothing away.
GRANTING: Final = frozenset({PolicyKind.IDENTITY, PolicyKind.RESOURCE, PolicyKind.TRUST})


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A named rule about one statement; `source` is the page of AWS's documentation that settles it."""

    name: str
    severity: Severity
    check: Check
    source: str
    kinds: frozenset[PolicyKind] = EVERY

    def apply(self, place: Place) -> Iterator[Finding]:
        if place.document.kind in self.kinds:
            for path, what, instead in self.check(place):
                yield Finding(rule=self.name, severity=self.severity, path=path, what=what, instead=instead)
