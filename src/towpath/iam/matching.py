"""Wildcards and policy variables, compiled once.

Sources: "IAM JSON policy elements: Resource" (wildcards * and ?; a * that ends a segment of an ARN reaches over colons) and "IAM
policy elements: Variables and tags": `${key, 'default'}` has a default; `${*}`, `${?}` and `${$}` are those characters themselves;
what a variable brings is taken literally; nothing equals or is like a text whose variable has no single value in the request (an
empty one is none), so
Resource does not match with it, NotResource does not except with it, and a negated condition holds.

In an ARN every * reaches over colons here, one inside a segment too, of which AWS's page says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from towpath.iam.context import Context

# No name holds another $ or {, so a text of many unclosed variables is read once and not once for each.
# A default stands after "a comma and space"; anything else there makes it no variable.
_VARIABLE: Final = re.compile(r"\$\{([*?$]|[^},${]*)(?:, '([^']*)')?\}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One text with wildcards. `match` is the fastest test that is right for it."""

    text: str
    fold: bool  # case does not count
    kind: str  # any, exact, prefix, regex, variables
    body: str = ""
    regex: re.Pattern[str] | None = None
    template: Template | None = None

    def match(self, value: str, context: Context) -> bool:
        if self.kind == "any":
            return True
        if self.fold:
            value = value.lower()
        if self.kind == "exact":
            return value == self.body
        if self.kind == "prefix":
            return value.startswith(self.body)
        if self.regex is not None:
            return self.regex.fullmatch(value) is not None
        filled = self.template.fill(context) if self.template is not None else None
        return filled is not None and matches_wildcards(
            [each.lower() for each in filled] if self.fold else filled, value
        )


class Template:
    """A text with variables: fixed texts, and between each two of them a variable's folded name and its default."""

    __slots__ = ("fixed", "names")

    def __init__(self, text: str) -> None:
        self.fixed: list[str] = []
        self.names: list[tuple[str, str | None]] = []
        position = 0
        for match in _VARIABLE.finditer(text):
            self.fixed.append(text[position : match.start()])
            self.names.append((match[1].strip().lower(), match[2]))
            position = match.end()
        self.fixed.append(text[position:])

    def fill(self, context: Context) -> list[str] | None:
        """Texts at even places may have wildcards, those at odd places are the variables' values. None: one has no single value."""
        out = [self.fixed[0]]
        for (name, default), text in zip(self.names, self.fixed[1:], strict=True):
            value = _value(name, default, context)
            if value is None:
                return None
            out += (value, text)
        return out


@lru_cache(maxsize=16_384)
def compile_pattern(text: str, *, variables: bool, fold: bool) -> Pattern:
    if variables and _VARIABLE.search(text):
        return Pattern(text=text, fold=fold, kind="variables", template=Template(text))
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


class PatternSet:
    """Many patterns asked at once: the literal ones and the prefixes in one step each, the rest one by one."""

    __slots__ = ("anything", "exact", "prefixes", "rest")

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        found = tuple(patterns)
        self.anything = any(p.kind == "any" for p in found)
        self.exact = frozenset(p.body for p in found if p.kind == "exact")
        self.prefixes = tuple(p.body for p in found if p.kind == "prefix")
        self.rest = tuple(p for p in found if p.kind in {"regex", "variables"})

    def match(self, value: str, context: Context) -> bool:
        """Whether any matches. `value` is folded if the patterns are."""
        return (
            self.anything
            or value in self.exact
            or value.startswith(self.prefixes)
            or (bool(self.rest) and any(pattern.match(value, context) for pattern in self.rest))
        )


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


def matches_wildcards(texts: Sequence[str], value: str) -> bool:
    """As `wildcard_regex(texts)` would, without compiling one for a text that is filled in anew for every request."""
    segments = [""]
    for place, text in enumerate(texts):
        if place % 2:
            segments[-1] += text
            continue
        if "?" in text:
            return wildcard_regex(texts).fullmatch(value) is not None
        head, *tail = text.split("*")
        segments[-1] += head
        segments += tail
    if len(segments) == 1:
        return value == segments[0]
    first, *middle, last = segments
    start, end = len(first), len(value) - len(last)
    if start > end or not value.startswith(first) or not value.endswith(last):
        return False
    for each in middle:
        found = value.find(each, start, end)
        if found < 0:
            return False
        start = found + len(each)
    return True


def expand_text(template: Template, context: Context) -> str | None:
    """The text with its variables filled in, or None when one has no single value in this request."""
    filled = template.fill(context)
    return None if filled is None else "".join(filled)


def has_variable(text: str) -> bool:
    return _VARIABLE.search(text) is not None


def _value(name: str, default: str | None, context: Context) -> str | None:
    if name in {"*", "?", "$"}:
        return name
    values = context.get(name)
    if len(values) > 1:
        return None
    # "A condition context key that has no value or is not present": an empty text is no value.
    return values[0] if values and values[0] else default
