"""The parameters of a Query call, shaped and checked as its service model says: the first thing IAM and STS refuse.

Source: the "Request Parameters" of each operation's page in the API references, which botocore's models repeat shape by shape:
what is required, lengths, ranges, patterns, enumerations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from towpath.sandbox import service_models
from towpath.sandbox.errors import AwsError

DEEPEST: Final = 6  # levels of structures and lists; the deepest of IAM and STS has three
LONGEST_LIST: Final = 1_000  # members that are read

# Java's classes of letters, separators and digits; Python has no \p.
_CLASSES: Final = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": "\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}
_IAM_NAME: Final = r"[\w+=,.@-]+"


def shaped(service: str, operation: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Lists and structures out of `Tags.member.1.Key=…`; text where the model has text, numbers as they were sent.

    Raises AwsError ValidationError, with every constraint that is broken. Parameters the model does not know are left out.
    """
    shapes, name = _input(service, operation)
    if name is None:
        return {}
    found = cast("dict[str, Any]", _read(shapes, name, form, "", DEEPEST) or {})
    broken = list(_broken(service, shapes, name, found, ""))
    if broken:
        first = broken[0]
        if len(broken) == 1 and first.startswith("The specified value"):
            raise AwsError("ValidationError", first, 400)
        plural = "s" if len(broken) > 1 else ""
        raise AwsError("ValidationError", f"{len(broken)} validation error{plural} detected: {'; '.join(broken)}", 400)
    return found


def check_json(service: str, operation: str, parameters: Mapping[str, Any]) -> None:
    """Like `shaped` for a call in JSON: AwsError SerializationException for a value of another type, else InvalidParameterException."""
    shapes, name = _input(service, operation)
    if name is None:
        return
    wrong = next(_mistyped(shapes, name, parameters, "", DEEPEST), None)
    if wrong is not None:
        raise AwsError("SerializationException", wrong, 400)
    broken = list(_broken(service, shapes, name, parameters, ""))
    if broken:
        raise AwsError("InvalidParameterException", "; ".join(broken), 400)


def _mistyped(shapes: Mapping[str, Any], name: str, value: Any, place: str, deep: int) -> Iterator[str]:
    shape = shapes[name]
    kind = shape["type"]
    types: dict[str, type | tuple[type, ...]] = {
        "structure": dict, "map": dict, "list": list, "string": str, "boolean": (bool, str), "integer": (int, str), "long": (int, str),
    }  # fmt: skip
    wanted = types.get(kind)
    if deep == 0 or (wanted is not None and not isinstance(value, wanted)):
        yield f"{place or 'the body'} is no {kind}"
    elif kind == "structure":
        for member, target in shape["members"].items():
            if member in value:
                yield from _mistyped(shapes, target["shape"], value[member], _place(place, member), deep - 1)
    elif kind == "list":
        for item in value:
            yield from _mistyped(shapes, shape["member"]["shape"], item, place, deep - 1)


@lru_cache(maxsize=512)
def _input(service: str, operation: str) -> tuple[dict[str, Any], str | None]:
    model = service_models.source(service) or {"operations": {}, "shapes": {}}
    found = model["operations"].get(operation, {}).get("input")
    return model["shapes"], str(found["shape"]) if found else None


def _read(shapes: Mapping[str, Any], name: str, form: Mapping[str, str], prefix: str, deep: int) -> Any:
    """What the form says of the shape at `prefix`; None for nothing."""
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        out: dict[str, Any] = {}
        for member, target in shape["members"].items():
            value = _read(shapes, target["shape"], form, f"{prefix}{member}", deep)
            if value is not None:
                out[member] = value
        return out or None
    if kind == "list":
        if deep == 0:
            return None
        start = f"{prefix}.member."
        numbers = {
            int(number)
            for key in form
            if key.startswith(start) and (number := key[len(start) :].partition(".")[0]).isdecimal() and len(number) < 5
        }
        if any(
            key.startswith(f"{prefix}.")
            and not (key.startswith(start) and key[len(start) :].partition(".")[0] in map(str, numbers))
            for key in form
        ):
            # Read as no list at all, a session policy or a tag would silently not be there.
            raise AwsError("MalformedInput", f"{prefix} is not a list of members numbered from 1.", 400)
        if not numbers:
            return [] if prefix in form else None
        target = shape["member"]["shape"]
        leaf = shapes[target]["type"] not in {"structure", "list"}
        return [
            (form.get(f"{start}{number}") if leaf else _read(shapes, target, form, f"{start}{number}.", deep - 1)) or ""
            for number in sorted(numbers)[:LONGEST_LIST]
        ]
    return form.get(prefix)


def _broken(service: str, shapes: Mapping[str, Any], name: str, value: Any, place: str) -> Iterator[str]:
    """AWS's sentence for each constraint `value` breaks. `place` is the member's path, in lower camel case."""
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        members = cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
        for member in shape.get("required", ()):
            if member not in members:
                yield f"Value null at '{_place(place, member)}' failed to satisfy constraint: Member must not be null"
        for member, found in members.items():
            yield from _broken(service, shapes, shape["members"][member]["shape"], found, _place(place, member))
    elif kind == "list":
        items = cast("list[Any]", value)
        yield from _length(shape, len(items), value, place)
        for number, item in enumerate(items, 1):
            yield from _broken(service, shapes, shape["member"]["shape"], item, f"{place}.{number}.member")
    elif kind in {"integer", "long"}:
        if not re.fullmatch(r"-?\d{1,18}", str(value)):
            yield f"Value '{_shown(value)}' at '{place}' failed to satisfy constraint: Member must be a number"
        else:
            yield from _range(shape, int(value), value, place)
    elif kind == "string":
        yield from _text(service, shape, str(value), place)


def _text(service: str, shape: Mapping[str, Any], value: str, place: str) -> Iterator[str]:
    yield from _length(shape, len(value), value, place)
    pattern = shape.get("pattern")
    if pattern is not None and value and not _pattern(pattern).fullmatch(value):
        if service == "iam" and pattern == _IAM_NAME:
            yield f"The specified value for {place} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
        elif place in {"path", "newPath"}:
            yield f"The specified value for {place} is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."
        else:
            yield f"Value '{_shown(value)}' at '{place}' failed to satisfy constraint: Member must satisfy regular expression pattern: {pattern}"
    if "enum" in shape and value not in shape["enum"]:
        yield f"Value '{_shown(value)}' at '{place}' failed to satisfy constraint: Member must satisfy enum value set: [{', '.join(shape['enum'])}]"


def _length(shape: Mapping[str, Any], length: int, value: Any, place: str) -> Iterator[str]:
    shown = f"Value '{_shown(value)}' at '{place}' failed to satisfy constraint: Member must have length"
    if length < shape.get("min", 0):
        yield f"{shown} greater than or equal to {shape['min']}"
    if "max" in shape and length > shape["max"]:
        yield f"{shown} less than or equal to {shape['max']}"


def _range(shape: Mapping[str, Any], number: int, value: Any, place: str) -> Iterator[str]:
    shown = f"Value '{_shown(value)}' at '{place}' failed to satisfy constraint: Member must have value"
    if "min" in shape and number < shape["min"]:
        yield f"{shown} greater than or equal to {shape['min']}"
    if "max" in shape and number > shape["max"]:
        yield f"{shown} less than or equal to {shape['max']}"


@lru_cache(maxsize=128)
def _pattern(text: str) -> re.Pattern[str]:
    unicode = r"\p" in text
    for java, python in _CLASSES.items():
        text = text.replace(java, python)
    return re.compile(text, 0 if unicode else re.ASCII)


def _place(place: str, member: str) -> str:
    name = member[:1].lower() + member[1:]
    return f"{place}.{name}" if place else name


def _shown(value: Any) -> str:
    """Short: a token or a policy document is not told back whole."""
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
