"""The table of services.yaml, read and compiled once: how a call names what it acts on, and which role it passes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, Final, cast

import yaml

Template = tuple[str, ...]
"""Resources a call needs the permission on, all of them."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service's rows."""

    namespace: str  # the service's name in ARNs
    actions: Mapping[str, str] = field(default_factory=dict[str, str])
    resources: tuple[Template, ...] = ()
    by_operation: Mapping[str, tuple[Template, ...]] = field(default_factory=dict[str, tuple[Template, ...]])
    none: frozenset[str] = frozenset()
    pass_role: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict[str, tuple[tuple[str, str], ...]])
    """Operation -> pairs of parameter and service principal."""

    def templates(self, operation: str) -> tuple[Template, ...]:
        if operation in self.none:
            return ()
        return self.by_operation.get(operation, self.resources)


@lru_cache(maxsize=256)
def table(service: str) -> Service:
    """By signing name; a service without a row has no resources."""
    row = _rows().get(service, {})
    passes: dict[str, list[tuple[str, str]]] = {}
    for principal, operations in row.get("pass_role", {}).items():
        for operation, parameters in operations.items():
            passes.setdefault(operation, []).extend((parameter, principal) for parameter in parameters)
    return Service(
        namespace=row.get("namespace", service),
        actions=row.get("action", {}),
        resources=_templates(row.get("resources", [])),
        by_operation={name: _templates(found) for name, found in row.get("by_operation", {}).items()},
        none=frozenset(row.get("none", [])),
        pass_role={operation: tuple(found) for operation, found in passes.items()},
    )


def _templates(found: list[Any]) -> tuple[Template, ...]:
    return tuple(tuple(item) if isinstance(item, list) else (str(item),) for item in found)


@lru_cache(maxsize=1)
def _rows() -> dict[str, dict[str, Any]]:
    text = resources.files("towpath.sandbox").joinpath("services.yaml").read_text("utf-8")
    return cast("dict[str, dict[str, Any]]", yaml.safe_load(text))


_PLACE: Final = re.compile(r"\{([^}]+)\}")


def filled(template: str, parameters: Mapping[str, Any]) -> list[str]:
    """The template with its parameters put in: one text for each member where one of them is a list; [] when one is missing."""
    names = _PLACE.findall(template)
    texts = [template]
    for name in names:
        found = values(name, parameters)
        if not found:
            return []
        # An ARN says everything itself, whatever stands around its place.
        texts = [
            value if value.startswith("arn:") else text.replace("{" + name + "}", value)
            for text in texts
            for value in found
        ]
    return texts


def values(path: str, parameters: Any) -> list[str]:
    """`A`, `A.B`, `A[]`, `A[].B`, `A.*`: the texts there; [] when one of them is missing or no text."""
    head, dot, rest = path.partition(".")
    if head == "*":
        return [str(key) for key in cast("dict[Any, Any]", parameters)] if isinstance(parameters, dict) else []
    each = head.endswith("[]")
    found: Any = parameters.get(head.removesuffix("[]")) if isinstance(parameters, Mapping) else None
    items: list[Any] = cast("list[Any]", found) if each and isinstance(found, list) else [] if each else [found]
    if not dot:
        return [str(item) for item in items] if all(isinstance(item, str) and item for item in items) else []
    nested = [values(rest, item) for item in items]
    return [text for part in nested for text in part] if all(nested) else []
