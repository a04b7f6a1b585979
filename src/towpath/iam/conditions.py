"""Condition operators, compiled once and evaluated against a request context.

Source: "IAM JSON policy elements: Condition operators" and "Conditions with multiple context keys or values", IAM User Guide.
Several values of one condition are alternatives; with a negated operator none of them may match. A key that is not in the request
fails a condition, except: negated operators, `…IfExists`, ForAllValues, and Null itself.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from towpath.iam import grammar
from towpath.iam.context import Context
from towpath.iam.matching import compile_pattern, expand_text

Test = Callable[[str, Context], bool]  # one context value -> does it match this policy value


class ConditionError(ValueError):
    """A condition whose operator, key or value IAM would refuse."""


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
    tests: tuple[Test, ...]

    def holds(self, context: Context) -> bool:
        found = context.get(self.folded)
        if self.base == "Null":
            return (not found) == (self.values[0].lower() == "true")
        if not found:
            if self.quantifier == "ForAnyValue":
                return False
            return self.if_exists or self.negated or self.quantifier == "ForAllValues"
        if self.quantifier == "ForAllValues":
            return all(self._one(value, context) for value in found)
        if self.quantifier == "ForAnyValue":
            return any(self._one(value, context) for value in found)
        # A plain operator on a key with several values: any of them may match; negated, none may.
        return (
            all(self._one(value, context) for value in found)
            if self.negated
            else any(self._one(value, context) for value in found)
        )

    def _one(self, value: str, context: Context) -> bool:
        matched = any(test(value, context) for test in self.tests)
        return not matched if self.negated else matched

    def evaluate(self, context: Context) -> ConditionResult:
        matched = self.holds(context)
        found = context.get(self.folded)
        got = " and ".join(f'"{value}"' for value in found) if found else "no such key in the request"
        wants = " or ".join(f'"{value}"' for value in self.values)
        return ConditionResult(matched=matched, why=f"{self.operator} {self.key}: got {got}, policy wants {wants}")


def compile_condition(operator: str, key: str, values: tuple[str, ...], *, variables: bool = True) -> CompiledCondition:
    """Raises ConditionError for what IAM refuses: an unknown operator, a number that is none, a date that is none."""
    parts = grammar.split_operator(operator)
    if parts is None:
        raise ConditionError(f"{operator!r} is no condition operator")
    quantifier, name, if_exists = parts
    if not values and name == "Null":
        raise ConditionError("Null needs a value, true or false")
    negated = "Not" in name
    base = name.replace("Not", "", 1) if negated else name
    return CompiledCondition(
        operator=operator,
        key=key,
        values=values,
        folded=key.lower(),
        base=base,
        negated=negated,
        quantifier=quantifier,
        if_exists=if_exists,
        tests=tuple(_test(base, value, variables=variables) for value in values),
    )


def _test(base: str, value: str, *, variables: bool) -> Test:
    dynamic = variables and "${" in value
    if base in {"StringLike", "StringEquals", "StringEqualsIgnoreCase"}:
        return _string(base, value, dynamic=dynamic)
    if base in {"ArnEquals", "ArnLike"}:
        return _arn(value, dynamic=dynamic, variables=variables)
    if dynamic:
        # Variables are for strings and ARNs only; elsewhere the text would have to be the value itself.
        raise ConditionError(f"{base} takes no policy variable: {value!r}")
    if base.startswith("Numeric"):
        return _numeric(base, value)
    if base.startswith("Date"):
        return _date(base, value)
    if base in {"Bool", "Null"}:
        if value.lower() not in {"true", "false"}:
            raise ConditionError(f"{base} takes true or false, not {value!r}")
        wanted = value.lower()
        return lambda got, _: got.lower() == wanted
    if base == "IpAddress":
        return _ip(value)
    return _binary(value)


def _string(base: str, value: str, *, dynamic: bool) -> Test:
    if base == "StringLike":
        pattern = compile_pattern(value, variables=dynamic, fold=False)
        return pattern.match
    fold = base == "StringEqualsIgnoreCase"
    wanted = value.lower() if fold else value
    if not dynamic:
        return (lambda got, _: got.lower() == wanted) if fold else (lambda got, _: got == wanted)

    def test(got: str, context: Context) -> bool:
        expanded = expand_text(value, context)
        if expanded is None:
            return False
        return got.lower() == expanded.lower() if fold else got == expanded

    return test


def _arn(value: str, *, dynamic: bool, variables: bool) -> Test:
    """Each of the six parts is matched for itself: a * does not reach over a colon, except within the resource."""
    segments = value.split(":", 5)
    if len(segments) != 6 and not dynamic and value != "*":
        raise ConditionError(f"{value!r} is not an ARN")
    patterns = [compile_pattern(segment, variables=variables, fold=False) for segment in segments]

    def test(got: str, context: Context) -> bool:
        if value == "*":
            return got.startswith("arn:")
        parts = got.split(":", 5)
        return (
            len(parts) == 6
            and len(patterns) == 6
            and all(p.match(part, context) for p, part in zip(patterns, parts, strict=True))
        )

    return test


def _numeric(base: str, value: str) -> Test:
    wanted = _decimal(value)
    if wanted is None:
        raise ConditionError(f"{value!r} is not a number")
    compare = _comparison(base.removeprefix("Numeric"))

    def test(got: str, _: Context) -> bool:
        number = _decimal(got)
        return number is not None and compare(number, wanted)

    return test


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _date(base: str, value: str) -> Test:
    wanted = _instant(value)
    if wanted is None:
        raise ConditionError(f"{value!r} is neither an ISO 8601 date nor seconds since 1970")
    compare = _comparison(base.removeprefix("Date"))

    def test(got: str, _: Context) -> bool:
        instant = _instant(got)
        return instant is not None and compare(instant, wanted)

    return test


def _instant(text: str) -> Decimal | None:
    if (number := _decimal(text)) is not None and "-" not in text.strip()[1:]:
        return number
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return Decimal(str((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def _comparison(name: str) -> Callable[[Decimal, Decimal], bool]:
    table: dict[str, Callable[[Decimal, Decimal], bool]] = {
        "Equals": lambda a, b: a == b,
        "LessThan": lambda a, b: a < b,
        "LessThanEquals": lambda a, b: a <= b,
        "GreaterThan": lambda a, b: a > b,
        "GreaterThanEquals": lambda a, b: a >= b,
    }
    return table[name]


def _ip(value: str) -> Test:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ConditionError(f"{value!r} is not an IP address or a CIDR block") from None

    def test(got: str, _: Context) -> bool:
        try:
            return ipaddress.ip_address(got) in network
        except ValueError:
            return False

    return test


def _binary(value: str) -> Test:
    wanted = _bytes(value)
    if wanted is None:
        raise ConditionError(f"{value!r} is not base64")
    return lambda got, _: _bytes(got) == wanted


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
