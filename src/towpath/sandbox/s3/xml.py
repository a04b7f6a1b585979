"""The XML bodies of S3's requests, read with care: no entities, no DTD, and no larger than S3 takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException, ElementTree

from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Request

__all__ = ["NAMESPACE", "Element", "malformed", "named", "parse", "parse_or_none", "tag", "text"]

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
LONGEST: Final = 2 * 1024 * 1024  # bytes; a DeleteObjects of a thousand keys of 1,024 bytes fits


def parse(request: Request) -> Element:
    """The body's root element. Raises AwsError MalformedXML."""
    if request.body.length > LONGEST:
        raise malformed()
    try:
        return ElementTree.fromstring(request.body.read())
    except (
        ElementTree.ParseError,
        DefusedXmlException,
        ValueError,
        LookupError,
    ):  # LookupError: an encoding nobody knows
        raise malformed() from None


def parse_or_none(request: Request) -> Element | None:
    """Like `parse`, for a body that may be absent."""
    return parse(request) if request.body.length else None


def tag(element: Element) -> str:
    """The element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def named(root: Element, name: str) -> Iterator[Element]:
    """Every element of that name, at any depth."""
    return (element for element in root.iter() if tag(element) == name)


def text(root: Element | None, name: str) -> str | None:
    """The text of the first element of that name, or None."""
    found = next(named(root, name), None) if root is not None else None
    return None if found is None else (found.text or "").strip()


def malformed(why: str = "") -> AwsError:
    return AwsError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
        400,
        why=why,
    )
