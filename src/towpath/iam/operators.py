"""How one value of the request is compared with the values a policy gives: a test for each kind of condition operator.

Source: "IAM JSON policy elements: Condition operators", IAM User Guide. Negation, IfExists and the set operators are conditions.py's.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from towpath.iam.context import Context
from towpath.iam.matching import PatternSet, Template, compile_pattern, compile_patterns, expand_text, has_variable

Test = Callable[[str, Context], bool]  # one value of the request -> does it match any of the policy's values?
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_MONTH: Final = re.compile(r"\d{4}-\d{2}")
_STRINGS: Final = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike"})
_COMPARISONS: Final[dict[str, Callable[[Decimal, Decimal], bool]]] = {
    "Equals": lambda a, b: a == b,
    "LessThan": lambda a, b: a < b,
    "LessThanEquals": lambda a, b: a <= b,
    "GreaterThan": lambda a, b: a > b,
    "GreaterThanEquals": lambda a, b: a >= b,
}


class ConditionError(ValueError):
    """A condition whose operator, key or value IAM would refuse."""


def compile_test(base: str, values: tuple[str, ...], *, variables: bool) -> Test:
    """The test of an operator without its Not. Raises ConditionError for a value that is none of its kind."""
    dynamic = variables and any(has_variable(value) for value in values)
    if base == "StringLike":
        return PatternSet(compile_patterns(values, variables=variables, fold=False)).match
    if base in _STRINGS:
        return _equals(values, fold=base == "StringEqualsIgnoreCase", dynamic=dynamic)
    if base in {"ArnEquals", "ArnLike"}:
        return _any_of([_arn(value, variables=variables) for value in values])
    if base == "Bool":
        return _bool(values, dynamic=dynamic)
    if dynamic:
        # AWS's page on variables: strings, ARNs and (the page on operators) Bool take them, the others do not.
        raise ConditionError(f"{base} takes no policy variable: {next(v for v in values if has_variable(v))!r}")
    if base.startswith("Numeric"):
        return _ordered(base.removeprefix("Numeric"), values, number, "is not a number")
    if base.startswith("Date"):
        return _ordered(
            base.removeprefix("Date"), values, instant, "is neither an ISO 8601 date nor seconds since 1970"
        )
    if base == "IpAddress":
        return _ip(values)
    return _binary(values)


def _equals(values: tuple[str, ...], *, fold: bool, dynamic: bool) -> Test:
    wanted = frozenset(value.lower() if fold else value for value in values if not (dynamic and has_variable(value)))
    if not dynamic:
        return (lambda got, _: got.lower() in wanted) if fold else (lambda got, _: got in wanted)
    templates = [Template(value) for value in values if has_variable(value)]

    def test(got: str, context: Context) -> bool:
        seen = got.lower() if fold else got
        if seen in wanted:
            return True
        texts = (expand_text(template, context) for template in templates)
        return any(text is not None and (text.lower() if fold else text) == seen for text in texts)

    return test


def _arn(value: str, *, variables: bool) -> Test:
    """Each of the six parts is matched for itself: a * does not reach over a colon, except within the resource."""
    if value == "*":
        return lambda got, _: got.startswith("arn:")
    segments = value.split(":", 5)
    if len(segments) != 6:
        if not (variables and has_variable(value)):
            raise ConditionError(f"{value!r} is not an ARN")
        whole = Template(value)

        return lambda got, context: expand_text(whole, context) == got
    patterns = [compile_pattern(segment, variables=variables, fold=False) for segment in segments]

    def test(got: str, context: Context) -> bool:
        parts = got.split(":", 5)
        return len(parts) == 6 and all(
            pattern.match(part, context) for pattern, part in zip(patterns, parts, strict=True)
        )

    return test


def _any_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    return lambda got, context: any(test(got, context) for test in tests)


def _bool(values: tuple[str, ...], *, dynamic: bool) -> Test:
    for value in values:
        if value.lower() not in {"true", "false"} and not (dynamic and has_variable(value)):
            raise ConditionError(f"Bool takes true or false, not {value!r}")
    same = _equals(values, fold=True, dynamic=dynamic)
    return lambda got, context: got.lower() in {"true", "false"} and same(got, context)


def _ordered(name: str, values: tuple[str, ...], read: Callable[[str], Decimal | None], refused: str) -> Test:
    wanted: list[Decimal] = []
    for value in values:
        found = read(value)
        if found is None:
            raise ConditionError(f"{value!r} {refused}")
        wanted.append(found)
    compare = _COMPARISONS[name]

    def test(got: str, _: Context) -> bool:
        found = read(got)
        return found is not None and any(compare(found, each) for each in wanted)

    return test


def number(text: str) -> Decimal | None:
    """An integer or decimal number; None for anything else, such as NaN, 1e9 or 1_000."""
    return Decimal(text.strip()) if len(text) < 400 and _NUMBER.fullmatch(text.strip()) else None


def instant(text: str) -> Decimal | None:
    """Seconds since 1970 of an ISO 8601 date (as the W3C's note has it; without a zone it is UTC) or of that number itself."""
    if (found := number(text)) is not None:
        return found
    text = text.strip()
    try:
        moment = datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text)
        return Decimal(str((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return None


def _ip(values: tuple[str, ...]) -> Test:
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for value in values:
        try:
            networks.append(ipaddress.ip_network(value, strict=False))
        except ValueError:
            raise ConditionError(f"{value!r} is not an IP address or a CIDR block") from None

    def test(got: str, _: Context) -> bool:
        try:
            address = ipaddress.ip_address(got)
        except ValueError:
            return False
        return any(address in network for network in networks)

    return test


def _binary(values: Iterable[str]) -> Test:
    wanted: set[bytes] = set()
    for value in values:
        found = _bytes(value)
        if found is None:
            raise ConditionError(f"{value!r} is not base64")
        wanted.add(found)
    return lambda got, _: _bytes(got) in wanted


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
