"""S3's XML: written, and read without trusting it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException, ElementTree

from towpath.sandbox import request_ids
from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3.xml import NAMESPACE
from towpath.sandbox.wire import Response

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\r]")


def element(name: str, value: object) -> str:
    text = escape(str(value))
    return f"<{name}>{_CONTROL.sub(lambda match: f'&#x{ord(match[0]):x};', text)}</{name}>"


def elements(pairs: Iterable[tuple[str, object]]) -> str:
    return "".join(element(name, value) for name, value in pairs)


def instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def owner_id(account: str) -> str:
    """A canonical user id: 64 hex digits, the same for an account always."""
    return hashlib.sha256(f"canonical user of {account}".encode()).hexdigest()


def owner(account: str, name: str = "Owner") -> str:
    return f"<{name}>{element('ID', owner_id(account))}</{name}>"


def answer(root: str, inner: str, headers: Iterable[tuple[str, str]] = (), *, status: int = 200) -> Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{inner}</{root}>'
    return Response(
        status=status, headers=[*request_ids.of_s3(), ("Content-Type", "application/xml"), *headers], body=text.encode()
    )


def empty(status: int, headers: Iterable[tuple[str, str]] = ()) -> Response:
    return Response(status=status, headers=[*request_ids.of_s3(), *headers])


def parse(text: bytes, root: str) -> Element:
    """The document, its names without their namespace. Raises AwsError MalformedXML."""
    try:
        found = ElementTree.fromstring(text)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError):
        raise malformed() from None
    for item in found.iter():
        item.tag = item.tag.rpartition("}")[2]
    if found.tag != root:
        raise malformed()
    return found


def malformed() -> AwsError:
    return AwsError(
        "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema", 400
    )
