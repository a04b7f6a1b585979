"""The request context: condition keys and their values.

Source: "IAM JSON policy elements: Condition" and "Controlling access to AWS resources using tags", IAM User Guide: the names of
condition keys ignore case, the tag key in aws:ResourceTag/Key, aws:RequestTag/Key and aws:PrincipalTag/Key included; values keep it.

A context is made for every request and most of its keys are never asked for, so names are folded and values turned into text only
when a condition or a policy variable reads one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

Scalar = str | bool | int | float | datetime
Value = Scalar | Iterable[Scalar]


class Context:
    """Condition key -> its values, each as text. A key that is absent and a key without values are the same."""

    __slots__ = ("_folded", "_keys", "_texts")

    def __init__(self, keys: Mapping[str, Value] | None = None) -> None:
        self._keys: dict[str, Value] = dict(keys) if keys else {}
        self._folded: dict[str, Value] | None = None
        self._texts: dict[str, tuple[str, ...]] = {}

    def get(self, folded: str) -> tuple[str, ...]:
        """Values of a key given in lower case; () when it is not in the request."""
        found = self._texts.get(folded)
        if found is None:
            if self._folded is None:
                self._folded = {name.lower(): value for name, value in self._keys.items()}
            value = self._folded.get(folded)
            found = () if value is None else (value,) if isinstance(value, str) else _texts(value)
            if found:  # keys that are absent are not kept: whoever asks for many would fill the memory with them
                self._texts[folded] = found
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get(name.lower()))

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._keys if name in self)


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
