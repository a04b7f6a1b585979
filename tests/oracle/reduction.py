"""A world made smaller as long as it still shows what it showed, so that a person can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .world import Document, World

SINGLE = ("resource", "boundary", "endpoint")


def smallest(world: World, shows: Callable[[World], bool]) -> World:
    """The world, with one request, after every step that `shows` allows. Greedy: each step takes one thing away."""
    while smaller := next((other for other in _steps(world) if shows(other)), None):
        world = smaller
    return world


def _steps(world: World) -> Iterator[World]:
    for name in SINGLE:
        document = getattr(world, name)
        if document is not None:
            if not (name == "resource" and world.trust):
                yield replace(world, **{name: None})
            yield from (replace(world, **{name: other}) for other in _documents(document))
    if world.session is not None:
        yield replace(world, session=None)
        yield from (replace(world, session=other) for other in _groups(world.session) if other)
    yield from (replace(world, identity=other) for other in _groups(world.identity))
    for name in ("scps", "rcps"):
        levels = getattr(world, name)
        for at, level in enumerate(levels):
            yield replace(world, **{name: levels[:at] + levels[at + 1 :]})
            yield from (replace(world, **{name: (*levels[:at], other, *levels[at + 1 :])}) for other in _groups(level))
    [asked] = world.requests
    for key in asked.context:
        rest = {name: value for name, value in asked.context.items() if name != key}
        yield replace(world, requests=(replace(asked, context=rest),))


def _groups(group: tuple[Document, ...]) -> Iterator[tuple[Document, ...]]:
    for at, document in enumerate(group):
        yield group[:at] + group[at + 1 :]
        yield from ((*group[:at], other, *group[at + 1 :]) for other in _documents(document))


def _documents(document: Document) -> Iterator[Document]:
    found = document["Statement"]
    statements = found if isinstance(found, list) else [found]
    for at, statement in enumerate(statements):
        if len(statements) > 1:
            yield {**document, "Statement": statements[:at] + statements[at + 1 :]}
        for other in _statements(statement):
            yield {**document, "Statement": [*statements[:at], other, *statements[at + 1 :]]}
    if document.get("Version") != "2012-10-17":
        yield {**document, "Version": "2012-10-17"}


def _statements(statement: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("Action", "Resource", "Principal"):
        if name in statement and statement[name] != "*":
            yield {**statement, name: "*"}
        if f"Not{name}" in statement:
            yield {**{key: value for key, value in statement.items() if key != f"Not{name}"}, name: "*"}
    for name, value in statement.items():
        if isinstance(value, list) and len(value) > 1:
            yield from ({**statement, name: each} for each in value)
        elif isinstance(value, dict):
            yield from ({**statement, name: other} for other in _objects(value))
    if "Condition" in statement:
        yield {key: value for key, value in statement.items() if key != "Condition"}


def _objects(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A Principal, or a Condition and each of its operators: without one member, or with a list made shorter."""
    for key, inner in value.items():
        if len(value) > 1:
            yield {name: each for name, each in value.items() if name != key}
        if isinstance(inner, list) and len(inner) > 1:
            yield from ({**value, key: each} for each in inner)
        elif isinstance(inner, dict):
            yield from ({**value, key: other} for other in _objects(inner))
