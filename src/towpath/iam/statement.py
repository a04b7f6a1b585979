"""Statements and documents as they are decided on: parsed, their patterns compiled once.

A statement has no variables when its document's Version is 2008-10-17 or missing ("IAM JSON policy elements: Version").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from towpath.iam.actions import ActionIndex
from towpath.iam.conditions import CompiledCondition
from towpath.iam.context import Context
from towpath.iam.matching import Pattern, PatternSet, compile_patterns
from towpath.iam.principals import Principals


class PolicyKind(StrEnum):
    """The kinds of policy IAM knows: what a document may say, and which of them decided a request.

    Sources: "Policies and permissions in IAM"; Organizations User Guide, "SCP syntax" and "RCP syntax"; "Control access to VPC
    endpoints using endpoint policies".
    """

    IDENTITY = "identity"
    TRUST = "trust"
    RESOURCE = "resource"
    BOUNDARY = "boundary"
    SESSION = "session"
    SCP = "scp"
    RCP = "rcp"
    ENDPOINT = "endpoint"

    @property
    def names_principals(self) -> bool:
        return self in _NAMING


REMEMBERED: Final = (
    2_048  # actions whose statements a document keeps at hand; the names in requests are not ours to trust
)
_NAMING: Final = frozenset({PolicyKind.TRUST, PolicyKind.RESOURCE, PolicyKind.RCP, PolicyKind.ENDPOINT})


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement. `source` is the JSON object as it was written; `sid` is "" where it has none.

    Principals are pairs of type and value: ("Federated", ARN); `Principal: "*"` is ("*", "*").
    """

    index: int
    sid: str
    effect: str  # Allow or Deny
    principals: tuple[tuple[str, str], ...] | None
    not_principals: tuple[tuple[str, str], ...] | None
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None
    conditions: tuple[CompiledCondition, ...]
    source: Mapping[str, Any]
    variables: bool = True

    @cached_property
    def action_patterns(self) -> tuple[Pattern, ...]:
        return compile_patterns(self.actions or self.not_actions or (), variables=False, fold=True)

    @cached_property
    def resource_patterns(self) -> PatternSet:
        texts = (completed(text) for text in self.resources or self.not_resources or ())
        return PatternSet(compile_patterns(texts, variables=self.variables, fold=False))

    @cached_property
    def named(self) -> Principals:
        """Whom Principal or NotPrincipal names."""
        return Principals(self.principals or self.not_principals or ())

    @cached_property
    def unconditional(self) -> bool:
        """Whether it speaks of every resource in every context."""
        every = self.resources is not None and self.resource_patterns.anything
        no_resource = self.resources is None and self.not_resources is None
        return not self.conditions and (every or no_resource)

    def applies(self, resource: str, context: Context) -> bool:
        """Whether Resource (or NotResource) and every condition hold. Action and Principal are asked elsewhere."""
        return self.speaks_of_resource(resource, context) and all(
            condition.holds(context) for condition in self.conditions
        )

    def speaks_of_resource(self, resource: str, context: Context) -> bool:
        if self.resources is not None:
            return self.resource_patterns.match(resource, context)
        if self.not_resources is not None:
            return not self.resource_patterns.match(resource, context)
        return True  # a trust policy: the role itself

    @property
    def label(self) -> str:
        return f"Sid {self.sid}" if self.sid else f"statement {self.index + 1}"


@dataclass(frozen=True, kw_only=True)
class PolicyDocument:
    """A valid policy document. `source` is the JSON object as it was written."""

    kind: PolicyKind
    version: str
    id: str | None
    statements: tuple[Statement, ...]
    source: Mapping[str, Any]
    _spoken: dict[str, tuple[tuple[Statement, ...], tuple[Statement, ...]]] = field(
        default_factory=dict[str, tuple[tuple[Statement, ...], tuple[Statement, ...]]],
        init=False,
        repr=False,
        compare=False,
    )

    @cached_property
    def asked_for(self) -> tuple[str, ...]:
        """Lower-case texts in which every condition key stands that a condition or a policy variable may read."""
        conditions = [condition for statement in self.statements for condition in statement.conditions]
        texts = [condition.folded for condition in conditions]
        texts += [value.lower() for condition in conditions for value in condition.values if "${" in value]
        texts += [
            pattern.text.lower()
            for statement in self.statements
            for pattern in statement.resource_patterns.rest
            if pattern.kind == "variables"
        ]
        return tuple(set(texts))

    @cached_property
    def _index(self) -> ActionIndex:
        return ActionIndex((statement.actions, statement.not_actions) for statement in self.statements)

    def speaking(self, action: str) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
        """The Deny and the Allow statements whose action element speaks of `action`, which is given in lower case."""
        found = self._spoken.get(action)
        if found is None:
            matching = [self.statements[place] for place in self._index.places(action)]
            found = (
                tuple(statement for statement in matching if statement.effect == "Deny"),
                tuple(statement for statement in matching if statement.effect == "Allow"),
            )
            if len(self._spoken) >= REMEMBERED:
                self._spoken.clear()
            self._spoken[action] = found
        return found


def completed(resource: str) -> str:
    """An ARN of fewer than six fields stands for all that begin so: IAM completes it with `*` ("Amazon Resource Names (ARNs)")."""
    missing = 5 - resource.count(":")
    return resource if missing <= 0 or resource == "*" else resource + ":*" * missing
