"""The table of services against the services' own models: a name misspelt there would be judged on "*" and never noticed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from towpath.sandbox import operations, service_models, services

SIGNING = sorted(services._rows())


def source(service: str) -> dict[str, Any]:
    found = service_models.source(operations.MODELS.get(service, service))
    assert found is not None, service
    return found


def exists(shapes: dict[str, Any], shape: str, path: str) -> bool:
    head, _, rest = path.partition(".")
    found = shapes[shape]
    if head == "*":
        return found["type"] == "map"
    member = found.get("members", {}).get(head.removesuffix("[]"))
    if member is None:
        return False
    target = member["shape"]
    if head.endswith("[]"):
        if shapes[target]["type"] != "list":
            return False
        target = shapes[target]["member"]["shape"]
    return not rest or exists(shapes, target, rest)


@pytest.mark.parametrize("service", SIGNING)
def test_operations_and_their_parameters_are_the_models(service: str) -> None:
    model, row = source(service), services.table(service)
    named = {*row.actions, *row.by_operation, *row.none, *row.pass_role}
    assert named <= set(model["operations"])
    for operation, passed in row.pass_role.items():
        for parameter, principal in passed:
            assert exists(model["shapes"], model["operations"][operation]["input"]["shape"], parameter), parameter
            assert principal.endswith(".amazonaws.com")
    for operation, templates in row.by_operation.items():
        for place in re.findall(r"\{([^}]+)\}", " ".join(" ".join(template) for template in templates)):
            assert exists(model["shapes"], model["operations"][operation]["input"]["shape"], place), place
    inputs = [found["input"]["shape"] for found in model["operations"].values() if "input" in found]
    for template in row.resources:
        for place in re.findall(r"\{([^}]+)\}", " ".join(template)):
            assert any(exists(model["shapes"], shape, place) for shape in inputs), place


@pytest.mark.parametrize(
    ("template", "parameters", "expected"),
    [
        ("table/{TableName}", {"TableName": "orders"}, ["table/orders"]),
        ("table/{TableName}", {"TableName": "arn:aws:dynamodb:x:1:table/o"}, ["arn:aws:dynamodb:x:1:table/o"]),
        ("table/{TableName}", {}, []),
        ("table/{TableName}", {"TableName": 7}, []),
        ("table/{R.*}", {"R": {"a": {}, "b": {}}}, ["table/a", "table/b"]),
        ("p/{Names[]}", {"Names": ["a", "b"]}, ["p/a", "p/b"]),
        ("p/{Names[]}", {"Names": ["a", None]}, []),
        ("p/{Names[]}", {"Names": []}, []),
        ("t/{L[].G.T}", {"L": [{"G": {"T": "a"}}, {"G": {"T": "b"}}]}, ["t/a", "t/b"]),
        ("t/{L[].G.T}", {"L": [{"G": {"T": "a"}}, {"P": {"T": "b"}}]}, []),
        ("t/{D}/{N.M}", {"D": "d", "N": {"M": "n"}}, ["t/d/n"]),
    ],
)
def test_template(template: str, parameters: dict[str, Any], expected: list[str]) -> None:
    assert services.filled(template, parameters) == expected
