"""Rules about statements that do not say what they seem to: they never match, or match something else, or say it twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

from towpath.iam import s3_actions
from towpath.iam.context import EMPTY
from towpath.iam.lint_finding import EVERY, Hit, Place, Rule, Severity
from towpath.iam.matching import compile_pattern
from towpath.iam.policy import PolicyKind

_VARIABLE: Final = re.compile(r"\$\{[^}]+\}")
_EQUAL: Final = ("StringEquals", "StringEqualsIgnoreCase", "StringNotEquals", "StringNotEqualsIgnoreCase")


def _literal_wildcard(place: Place) -> Iterator[Hit]:
    for condition in place.conditions():
        if condition.operator not in _EQUAL:
            continue
        for value in condition.values:
            if re.search(r"[*?]", _VARIABLE.sub("", value)):
                like = "StringNotLike" if condition.negated else "StringLike"
                yield (
                    condition.path,
                    f"{condition.written} compares {value!r} character by character: its * is no wildcard here",
                    f"write {condition.written.replace(condition.operator, like)}",
                )


def _like_without_wildcard(place: Place) -> Iterator[Hit]:
    for condition in place.conditions():
        if condition.operator in {"StringLike", "StringNotLike"} and not any(
            re.search(r"[*?]", value) for value in condition.values
        ):
            equal = condition.operator.replace("Like", "Equals")
            yield (
                condition.path,
                f"{condition.written} without a wildcard is {equal}",
                f"write {condition.written.replace(condition.operator, equal)}, so that nobody looks for the pattern",
            )


def _literal_variables(place: Place) -> Iterator[Hit]:
    if place.document.version == "2012-10-17":
        return
    found = [*place.texts("Resource"), *place.texts("NotResource")]
    found += [(condition.path, value) for condition in place.conditions() for value in condition.values]
    for path, text in found:
        if match := _VARIABLE.search(text):
            yield (
                path,
                f"{match[0]} is plain text here: variables exist only in Version 2012-10-17, and this document is of 2008-10-17",
                'write "Version": "2012-10-17"',
            )


def _may_be(resource: str, *, obj: bool) -> bool:
    """Whether a resource can name an object (or a bucket) of S3. True where it is not plain."""
    match = re.fullmatch(r"arn:[^:]*:s3:::(.+)", resource, re.DOTALL)
    if match is None:  # everything; an access point; a service with a wildcard; another service's ARN
        service = resource.split(":")[2] if resource.count(":") >= 5 else "*"
        return service == "s3" or bool(re.search(r"[*?]", service)) or resource == "*"
    name = match[1]
    before = re.split(r"[*?$]", name, maxsplit=1)[0]  # what stands before the first wildcard is literal
    return ("/" in name or before != name) if obj else "/" not in before


def _s3_level(place: Place, *, obj: bool) -> Iterator[Hit]:
    resources = place.statement.resources
    if resources is None or any(_may_be(resource, obj=obj) for resource in resources):
        return
    wanted, names = (s3_actions.OBJECT, "objects") if obj else (s3_actions.BUCKET, "buckets")
    for path, text in place.texts("Action"):
        pattern = compile_pattern(text, variables=False, fold=True)
        found = [name for name in s3_actions.ALL if pattern.match(f"s3:{name}", EMPTY)]
        if found and all(name in wanted for name in found):
            bucket = resources[0].split("/")[0]
            yield (
                path,
                f"{text} acts on {names}, and no resource of this statement can be one, so it {'allows' if place.allows else 'denies'} nothing",
                f"add {bucket}/* to Resource" if obj else f"put it into a statement whose Resource is {bucket}",
            )


def _s3_object(place: Place) -> Iterator[Hit]:
    yield from _s3_level(place, obj=True)


def _s3_bucket(place: Place) -> Iterator[Hit]:
    yield from _s3_level(place, obj=False)


def _s3_account(place: Place) -> Iterator[Hit]:
    if any(re.fullmatch(r"\*|arn:[^:]*:(s3|\*):[^:]*:[^:]*:\*", text) for text in place.statement.resources or ("*",)):
        return
    for path, text in place.texts("Action"):
        name = text.partition(":")[2]
        if text.lower().startswith("s3:") and name.lower() in {each.lower() for each in s3_actions.ACCOUNT}:
            yield (
                path,
                f"{text} has no resource, so a bucket's ARN never matches it",
                'put it into a statement with "Resource": "*"',
            )


def _contradiction(place: Place) -> Iterator[Hit]:
    """Conditions of one statement that cannot hold together; only what is sure whatever the request says."""
    conditions = list(place.conditions())
    verb = "allows" if place.allows else "denies"
    for absent in conditions:
        if absent.wants_absence and place.requires(absent.key):
            yield (
                absent.path,
                f"{absent.key} must be absent here, and another condition of the statement needs it, so it {verb} nothing",
                "take one of the two out",
            )
    plain = [c for c in conditions if c.quantifier is None and not any("${" in value for value in c.values)]
    for one in plain:
        if one.operator != "StringEquals" or one.if_exists:
            continue
        for other in plain:
            if other.key.lower() != one.key.lower() or other is one:
                continue
            left = set(one.values)
            if other.operator == "StringNotEquals":
                left -= set(other.values)
            elif other.operator == "StringEquals":
                left &= set(other.values)
            if not left:
                yield (
                    one.path,
                    f"no value of {one.key} satisfies both {one.written} and {other.written}, so it {verb} nothing",
                    "take one of the two out",
                )
    yield from _empty_interval(place, verb)


def _empty_interval(place: Place, verb: str) -> Iterator[Hit]:
    bounds: dict[tuple[str, str], dict[str, Decimal]] = {}
    for condition in place.conditions():
        match = re.fullmatch(r"(Numeric)(LessThan|GreaterThan)(Equals)?", condition.operator)
        if match is None or condition.if_exists or condition.quantifier:
            continue
        try:
            numbers = [Decimal(value) for value in condition.values]
        except InvalidOperation:
            continue
        # Several values are alternatives, so the widest counts.
        side = bounds.setdefault((match[1], condition.key.lower()), {})
        side[match[2]] = max(numbers) if match[2] == "LessThan" else min(numbers)
    for (_, key), side in bounds.items():
        if len(side) == 2 and side["GreaterThan"] > side["LessThan"]:
            yield (
                f"{place.path}.Condition",
                f"{key} would have to be above {side['GreaterThan']} and below {side['LessThan']}, so it {verb} nothing",
                "exchange the two numbers",
            )


def _redundant(place: Place) -> Iterator[Hit]:
    for element, fold in (("Action", True), ("NotAction", True), ("Resource", False), ("NotResource", False)):
        found = list(place.texts(element))
        if any("${" in text for _, text in found):
            continue
        for index, (path, text) in enumerate(found):
            for other_index, (_, other) in enumerate(found):
                if index == other_index:
                    continue
                same = other.lower() == text.lower() if fold else other == text
                if (same and other_index < index) or (not same and _covers(other, text, fold=fold)):
                    yield path, f"{other} already says {text}", "take it out"
                    break


def _covers(general: str, special: str, *, fold: bool) -> bool:
    """Whether `general` matches all that `special` does. Sure when it says so; a star of `special` must be taken in by a star."""
    if "?" in general or "*" not in general:
        return False
    return compile_pattern(general, variables=False, fold=fold).match(special.replace("*", "\x00\x00"), EMPTY)


def _duplicate(place: Place) -> Iterator[Hit]:
    mine = _without_sid(place)
    for earlier in place.document.statements[: place.statement.index]:
        if {key: value for key, value in earlier.source.items() if key != "Sid"} == mine:
            yield place.path, f"it says what {earlier.label} says already", "take it out"
            return


def _without_sid(place: Place) -> dict[str, object]:
    return {key: value for key, value in json.loads(json.dumps(dict(place.source))).items() if key != "Sid"}


_ELEMENT: Final = "IAM JSON policy elements: "
RULES: Final = (
    Rule(
        name="literal-wildcard",
        severity=Severity.ERROR,
        check=_literal_wildcard,
        source=_ELEMENT + "Condition operators",
    ),
    Rule(
        name="like-without-wildcard",
        severity=Severity.NOTE,
        check=_like_without_wildcard,
        source=_ELEMENT + "Condition operators",
    ),
    Rule(
        name="literal-variable",
        severity=Severity.ERROR,
        check=_literal_variables,
        source="IAM policy elements: Variables and tags",
    ),
    Rule(
        name="s3-object-action-without-objects",
        severity=Severity.ERROR,
        check=_s3_object,
        source="Actions, resources, and condition keys for Amazon S3",
        kinds=EVERY - {PolicyKind.TRUST},
    ),
    Rule(
        name="s3-bucket-action-without-bucket",
        severity=Severity.ERROR,
        check=_s3_bucket,
        source="Actions, resources, and condition keys for Amazon S3",
        kinds=EVERY - {PolicyKind.TRUST},
    ),
    Rule(
        name="s3-account-action-on-bucket",
        severity=Severity.ERROR,
        check=_s3_account,
        source="Actions, resources, and condition keys for Amazon S3",
        kinds=EVERY - {PolicyKind.TRUST, PolicyKind.RESOURCE},
    ),
    Rule(name="never-matches", severity=Severity.ERROR, check=_contradiction, source=_ELEMENT + "Condition"),
    Rule(name="duplicate-statement", severity=Severity.WARNING, check=_duplicate, source=_ELEMENT + "Statement"),
    Rule(name="redundant", severity=Severity.NOTE, check=_redundant, source=_ELEMENT + "Action"),
)
