"""XML bodies of S3's configurations held against their schema, as botocore's model of S3 describes them.

S3 answers MalformedXML to a body that "did not validate against our published schema" ("Error responses", S3 API reference). The
emulator takes what it can use and breaks on the rest, so the gate validates first. An element that the model does not know, one given
twice that is no list, a required one that is missing, and a value of another type or outside an enumeration are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from towpath.sandbox import service_models
from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import xml
from towpath.sandbox.wire import Request

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Shapes = Mapping[str, Mapping[str, Any]]
_BY_HEADER: Final = frozenset({"PutBucketAcl", "PutObjectAcl"})  # a header can stand for their body
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}")


@lru_cache(maxsize=256)
def payload(operation: str) -> tuple[str, str] | None:
    """The root element and its shape; None for an operation without an XML body."""
    model = service_models.source("s3")
    if model is None or "input" not in model["operations"].get(operation, {}):
        return None
    shape = model["shapes"][model["operations"][operation]["input"]["shape"]]
    name = shape.get("payload")
    if name is None or model["shapes"][shape["members"][name]["shape"]]["type"] != "structure":
        return None
    member = shape["members"][name]
    return str(member.get("locationName", member["shape"])), str(member["shape"])


def check(operation: str, request: Request) -> None:
    """Raises AwsError MalformedXML for a body that is not what the operation takes, or says that there is none."""
    wanted = payload(operation)
    if wanted is None:
        return
    root_name, shape = wanted
    if not request.body.length:
        if operation == "CreateBucket" or (operation in _BY_HEADER and any(map(_grants, request.headers))):
            return
        if operation in _BY_HEADER:
            raise AwsError("MissingSecurityHeader", "Your request was missing a required header", 400)
        raise AwsError("MissingRequestBodyError", "Request Body is empty", 400)
    root = xml.parse(request)
    if xml.tag(root) != root_name:
        raise xml.malformed()
    _element(root, shape, _shapes())


def _grants(header: str) -> bool:
    return header == "x-amz-acl" or header.startswith("x-amz-grant-")


def _shapes() -> Shapes:
    return cast("Shapes", (service_models.source("s3") or {})["shapes"])


def _element(element: Element, name: str, shapes: Shapes) -> None:
    shape = shapes[name]
    if shape["type"] == "structure":
        _structure(element, shape, shapes)
    elif shape["type"] == "list":
        item = shape["member"]
        for child in element:
            if xml.tag(child) != item.get("locationName", "member"):
                raise xml.malformed()
            _element(child, item["shape"], shapes)
    elif len(element) or not _valid((element.text or "").strip(), shape):
        raise xml.malformed()


def _structure(element: Element, shape: Mapping[str, Any], shapes: Shapes) -> None:
    members = {
        str(member.get("locationName", name)): (name, member)
        for name, member in shape["members"].items()
        if not member.get("xmlAttribute")
    }
    seen: set[str] = set()
    for child in element:
        known = members.get(xml.tag(child))
        if known is None:
            raise xml.malformed()
        name, member = known
        target = member["shape"]
        if member.get("flattened") or shapes[target].get("flattened"):
            target = shapes[target]["member"]["shape"]
        elif name in seen:
            raise xml.malformed()
        seen.add(name)
        _element(child, target, shapes)
    attributes = {name for name, member in shape["members"].items() if member.get("xmlAttribute")}
    if set(shape.get("required", ())) - seen - attributes:
        raise xml.malformed()


def _valid(text: str, shape: Mapping[str, Any]) -> bool:
    kind = shape["type"]
    if kind in {"integer", "long"}:
        return _INTEGER.fullmatch(text) is not None
    if kind == "boolean":
        return text.lower() in {"true", "false"}
    if kind == "timestamp":
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return False
        return True
    return "enum" not in shape or text in shape["enum"]
