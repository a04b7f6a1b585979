"""JSON as policies are written in it: duplicate keys refused, and a mistake found by its line and column."""

from __future__ import annotations

import json
from typing import Any

from towpath.errors import UsageError


class PolicyError(UsageError):
    """A policy document IAM would refuse.

    `path` inside the document (`Statement[0].Condition.StringEquals`, "" for the whole), `reason` without the path; `line`
    and `column`, from 1, when it is not even JSON.
    """

    def __init__(
        self, reason: str, *, name: str, path: str = "", line: int | None = None, column: int | None = None
    ) -> None:
        place = f"{name}, line {line}, column {column}" if line is not None else f"{name}, {path}" if path else name
        super().__init__(reason, where=place, todo="correct the document and run the same command again")
        self.path = path
        self.reason = reason
        self.line = line
        self.column = column


def parse_json(text: str | bytes, *, name: str) -> Any:
    """Raises PolicyError for text that is not JSON, or that says one key twice."""
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise PolicyError(f"byte {error.start} is not UTF-8", name=name) from None

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in found:
            if key in out:
                raise PolicyError(
                    f"the key {key!r} stands twice in one object, and only one of them would count", name=name
                )
            out[key] = value
        return out

    def constant(word: str) -> Any:
        raise PolicyError(f"{word} is not JSON", name=name)

    try:
        return json.loads(decoded, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise PolicyError(
            f"it is not JSON: {error.msg[:1].lower()}{error.msg[1:]}", name=name, line=error.lineno, column=error.colno
        ) from None
    except RecursionError:
        raise PolicyError("it is nested too deeply", name=name) from None
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise PolicyError("it holds a number that is too long", name=name) from None
