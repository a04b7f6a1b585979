"""The request context: condition keys and their values, typed once.

Source: "Global condition context keys" and "Keys in a request context", IAM User Guide: key names ignore case, values keep it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

Scalar = str | bool | int | float | datetime
Value = Scalar | Iterable[Scalar]


class Context:
    """Condition key -> its values, each as text. A key that is absent and a key without values are the same."""

    __slots__ = ("_names", "_values")

    def __init__(self, keys: Mapping[str, Value] | None = None) -> None:
        self._values: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, str] = {}
        for name, value in (keys or {}).items():
            folded = name.lower()
            values = _texts(value)
            if values:
                self._values[folded] = values
                self._names[folded] = name

    def get(self, folded: str) -> tuple[str, ...]:
        """Values of a key given in lower case; () when it is not in the request."""
        return self._values.get(folded, ())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._names.values())


EMPTY: Final = Context()


def _texts(value: Value) -> tuple[str, ...]:
    if isinstance(value, (str, bool, int, float, datetime)):
        return (_text(value),)
    return tuple(_text(item) for item in value)


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)
