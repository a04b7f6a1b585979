"""Wildcards and policy variables, compiled once.

Source: "IAM JSON policy elements: Resource" (wildcards * and ?) and "IAM policy elements: Variables and tags": a variable without a
value in the request matches nothing; `${key, 'default'}` has one; `${*}`, `${?}` and `${$}` are those characters themselves; what a
variable brings is taken literally.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from towpath.iam.context import Context

_VARIABLE: Final = re.compile(r"\$\{\s*([^},]*?)\s*(?:,\s*'([^']*)'\s*)?\}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One text with wildcards. `match` is the fastest test that is right for it."""

    text: str
    fold: bool  # case does not count
    kind: str  # any, exact, prefix, regex, variables
    body: str = ""
    regex: re.Pattern[str] | None = None

    def match(self, value: str, context: Context) -> bool:
        if self.kind == "any":
            return True
        if self.fold:
            value = value.lower()
        if self.kind == "exact":
            return value == self.body
        if self.kind == "prefix":
            return value.startswith(self.body)
        if self.kind == "regex":
            return self.regex is not None and self.regex.fullmatch(value) is not None
        expanded = expand_regex(self.text, context, fold=self.fold)
        return expanded is not None and expanded.fullmatch(value) is not None


@lru_cache(maxsize=16_384)
def compile_pattern(text: str, *, variables: bool, fold: bool) -> Pattern:
    if variables and "${" in text:
        return Pattern(text=text, fold=fold, kind="variables")
    body = text.lower() if fold else text
    if body == "*":
        return Pattern(text=text, fold=fold, kind="any")
    if "*" not in body and "?" not in body:
        return Pattern(text=text, fold=fold, kind="exact", body=body)
    if body.endswith("*") and "*" not in body[:-1] and "?" not in body:
        return Pattern(text=text, fold=fold, kind="prefix", body=body[:-1])
    return Pattern(text=text, fold=fold, kind="regex", regex=wildcard_regex([body]))


def compile_patterns(texts: Iterable[str], *, variables: bool, fold: bool) -> tuple[Pattern, ...]:
    return tuple(compile_pattern(text, variables=variables, fold=fold) for text in texts)


def wildcard_regex(texts: Iterable[str]) -> re.Pattern[str]:
    """One regular expression for texts put together: those at even places have wildcards, those at odd places are taken literally.

    What stands between two stars is looked for once, at its leftmost place, in an atomic group: where it matches there, no later place
    could do better, so there is nothing to come back to. Without that a policy like `*a*a*a*b` would take exponential time.
    """
    segments = [""]
    for place, text in enumerate(texts):
        if place % 2:
            segments[-1] += re.escape(text)
            continue
        for char in text:
            if char == "*":
                segments.append("")
            else:
                segments[-1] += "." if char == "?" else re.escape(char)
    if len(segments) == 1:
        return re.compile(segments[0], re.DOTALL)
    first, *middle, last = segments
    return re.compile(first + "".join(f"(?>.*?{each})" for each in middle if each) + ".*" + last, re.DOTALL)


def expand_regex(text: str, context: Context, *, fold: bool) -> re.Pattern[str] | None:
    """The pattern with its variables filled in, or None when one has no single value in this request."""
    out: list[str] = []
    position = 0
    for match in _VARIABLE.finditer(text):
        value = _value(match[1], match[2], context)
        if value is None:
            return None
        out += [text[position : match.start()], value]
        position = match.end()
    out.append(text[position:])
    return wildcard_regex([each.lower() for each in out] if fold else out)


def expand_text(text: str, context: Context) -> str | None:
    """The text with its variables filled in, or None when one has no single value in this request."""
    out: list[str] = []
    position = 0
    for match in _VARIABLE.finditer(text):
        out.append(text[position : match.start()])
        position = match.end()
        value = _value(match[1], match[2], context)
        if value is None:
            return None
        out.append(value)
    return "".join([*out, text[position:]])


def _value(name: str, default: str | None, context: Context) -> str | None:
    if name in {"*", "?", "$"}:
        return name
    values = context.get(name.lower())
    if len(values) == 1:
        return values[0]
    return default if not values else None
