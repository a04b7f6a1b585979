"""YAML files that people write: read, and what is wrong with them said in words, with the place and the nearest known field."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from towpath.errors import UsageError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]


def read(path: Path, *, noun: str, todo: str, of: type[UsageError] = UsageError) -> object:
    """The file's value. Raises `of`; `noun` is what the file is to be, `todo` what to do where it cannot be read."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise of(f"cannot read the {noun}: {error.strerror}", where=str(path), todo=todo) from None
    except UnicodeDecodeError:
        raise of(f"the {noun} is not UTF-8 text", where=str(path), todo="save it as UTF-8") from None
    except RecursionError:
        raise of(
            f"the {noun} is nested too deeply", where=str(path), todo="no field of it lies that deep: take levels out"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark is not None else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise of(f"the {noun} is not YAML: {problem}", where=place, todo="correct the line") from None


def refusal(
    error: ValidationError,
    *,
    source: str,
    known: Callable[[Location], Sequence[str]],
    of: type[UsageError] = UsageError,
) -> UsageError:
    """The first mistake of a value that does not fit its model. `known` gives the fields there are at a place."""
    found = error.errors()
    # A misspelt field is also a missing one; the misspelling is what to tell.
    first = next((item for item in found if item["type"] == "extra_forbidden"), found[0])
    location = first["loc"]
    where = f"{source}, {place(location)}" if location else source
    if first["type"] == "extra_forbidden":
        unknown, fields = str(location[-1]), known(location[:-1])
        near = difflib.get_close_matches(unknown, fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"the fields here are {', '.join(fields)}"
        return of(f"the field {unknown!r} is not known", where=where, todo=hint)
    return of(words(first), where=where, todo="correct it and run the same command again")


def place(location: Location) -> str:
    """`identities[0].role.name`."""
    out = ""
    for part in location:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def words(error: ErrorDetails) -> str:
    """What is wrong with one value, in the words of the file and not of the program that reads it."""
    given, bounds = shown(error["input"]), error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "the field is missing"
        case "string_type":
            return f"{given} is not text; put it into quotes"
        case "tuple_type" | "list_type":
            return f"{given} is not a list; begin each item with '- '"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{given} is not an object with fields"
        case "too_short":
            return "the list is empty"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{given} is not a whole number"
        case "bool_type" | "bool_parsing":
            return f"{given} is neither true nor false"
        case "greater_than_equal":
            return f"{given} is less than {bounds.get('ge')}, the least it may be"
        case "less_than_equal":
            return f"{given} is more than {bounds.get('le')}, the most it may be"
        case "literal_error":
            return f"{given} is not one of {str(bounds.get('expected')).replace(' or ', ', ')}"
        case _:
            message = error["msg"].removeprefix("Value error, ")
            return message[:1].lower() + message[1:]


def shown(value: Any) -> str:
    """The value as a person wrote it, in few words."""
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list, tuple)):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
