"""Conditions, compiled once and evaluated against a request context.

Sources, IAM User Guide: "Conditions with multiple context keys or values" (several values of one condition are alternatives; with a
negated operator none of them may match), "IAM JSON policy elements: Condition operators" (a key that is not in the request fails a
condition, except with a negated operator, `…IfExists`, and Null), "Set operators for multivalued context keys" (ForAllValues is true
without values, ForAnyValue is not, with IfExists neither: two people who tried it say so, AWS's pages do not) and "Single-valued vs. multivalued context keys" (a key with several values needs a set operator:
without one nothing is compared and the condition fails, a negated one too. That last part no page says; another simulator has it so).
"""

from __future__ import annotations

from dataclasses import dataclass

from towpath.iam import grammar
from towpath.iam.context import Context
from towpath.iam.operators import ConditionError, Test, compile_test

__all__ = ["CompiledCondition", "ConditionError", "ConditionResult", "compile_condition"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConditionResult:
    """`matched`, and the sentence that says why."""

    matched: bool
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledCondition:
    """One operator, one key, its values. `holds` decides; `evaluate` decides and explains."""

    operator: str  # as written
    key: str
    values: tuple[str, ...]
    folded: str
    base: str
    negated: bool
    quantifier: str | None
    if_exists: bool
    null: frozenset[bool] | None  # what Null accepts: that the key is absent, that it is there
    test: Test

    def holds(self, context: Context) -> bool:
        found = context.get(self.folded)
        if self.null is not None:
            return (not found) in self.null
        if not found:
            if self.quantifier is None:
                return self.negated or self.if_exists
            return self.quantifier == "ForAllValues"
        if self.quantifier is None:
            return len(found) == 1 and self._one(found[0], context)
        if self.quantifier == "ForAllValues":
            return all(self._one(value, context) for value in found)
        return any(self._one(value, context) for value in found)

    def _one(self, value: str, context: Context) -> bool:
        return self.test(value, context) is not self.negated

    def evaluate(self, context: Context) -> ConditionResult:
        matched = self.holds(context)
        found = context.get(self.folded)
        got = " and ".join(f'"{value}"' for value in found) if found else "no such key in the request"
        wants = " or ".join(f'"{value}"' for value in self.values)
        why = f"{self.operator} {self.key}: got {got}, policy wants {wants}"
        if not matched and len(found) > 1 and self.quantifier is None and self.null is None:
            why += " (a key with several values needs ForAllValues or ForAnyValue)"
        return ConditionResult(matched=matched, why=why)


def compile_condition(operator: str, key: str, values: tuple[str, ...], *, variables: bool = True) -> CompiledCondition:
    """Raises ConditionError for what IAM refuses: an unknown operator, a number that is none, a date that is none."""
    parts = grammar.split_operator(operator)
    if parts is None:
        raise ConditionError(f"{operator!r} is no condition operator")
    quantifier, name, if_exists = parts
    negated = "Not" in name
    base = name.replace("Not", "", 1) if negated else name
    null: frozenset[bool] | None = None
    if base == "Null":
        if not values:
            raise ConditionError("Null needs a value, true or false")
        wrong = [value for value in values if value.lower() not in {"true", "false"}]
        if wrong:
            raise ConditionError(f"Null takes true or false, not {wrong[0]!r}")
        null = frozenset(value.lower() == "true" for value in values)
    return CompiledCondition(
        operator=operator,
        key=key,
        values=values,
        folded=key.lower(),
        base=base,
        negated=negated,
        quantifier=quantifier,
        if_exists=if_exists,
        null=null,
        test=compile_test("Bool" if base == "Null" else base, values, variables=variables),
    )
