"""Refusals in AWS's own words, and their bodies in each of AWS's protocols.

`AwsError` is what the gate answers to an SDK; `SandboxError` is what towpath says to the person who starts a sandbox.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final
from xml.sax.saxutils import escape

from towpath.errors import WorldError
from towpath.sandbox import request_ids
from towpath.sandbox.wire import Response

_NO_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
STS_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
IAM_NAMESPACE: Final = "https://iam.amazonaws.com/doc/2010-05-08/"
QUERY_NAMESPACES: Final = {"sts": STS_NAMESPACE, "iam": IAM_NAMESPACE}


class SandboxError(WorldError):
    """The sandbox could not start or could not be reached."""


class AwsError(Exception):
    """One refusal as AWS words it: `code`, `message`, HTTP `status`; `why` is for the call record, never for the client.

    `resource` is S3's `<Resource>` element; `details` are further elements S3 has in some errors (`Key`, `BucketName`, …),
    `headers` headers that go with the answer.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int,
        *,
        why: str = "",
        resource: str = "",
        details: Mapping[str, str] | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.why = why or message
        self.resource = resource
        self.details = dict(details or {})
        self.headers = list(headers)


def not_implemented(why: str, details: Mapping[str, str] | None = None) -> AwsError:
    """S3's refusal of what it, or this sandbox, does not do ("Error responses", S3 API reference)."""
    return AwsError(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented.",
        501,
        why=why,
        details=dict(details or {}),
    )


def render(error: AwsError, *, service: str, protocol: str, head: bool = False) -> Response:
    """The error as a client of `service` expects it.

    `protocol`: query, ec2, json-1.0, json-1.1, rest-json, rest-xml or smithy-rpc-v2-cbor.
    """
    request_id = request_ids.uuid()
    if service == "s3":
        return _s3(error, head=head)
    headers = [("x-amzn-RequestId", request_id)]
    if protocol == "smithy-rpc-v2-cbor":
        headers += [("smithy-protocol", "rpc-v2-cbor"), ("Content-Type", "application/cbor")]
        body = b"\xa2" + b"".join(map(_cbor_text, ("__type", error.code, "message", error.message)))
        return Response(status=error.status, headers=headers, body=body)
    if protocol.startswith("json") or protocol == "rest-json":
        kind = "application/json" if protocol == "rest-json" else f"application/x-amz-{protocol}"
        headers += [("Content-Type", kind), ("x-amzn-ErrorType", error.code)]
        body = json.dumps({"__type": error.code, "message": error.message}).encode()
        return Response(status=error.status, headers=headers, body=body)
    headers.append(("Content-Type", "text/xml"))
    code, message = f"<Code>{_text(error.code)}</Code>", f"<Message>{_text(error.message)}</Message>"
    if protocol == "ec2":
        text = (
            f"<Response><Errors><Error>{code}{message}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        )
        return Response(status=error.status, headers=headers, body=text.encode())
    kind = "Receiver" if error.status >= 500 else "Sender"
    namespace = QUERY_NAMESPACES.get(service, f"https://{service}.amazonaws.com/doc/")
    text = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type>{code}{message}</Error>'
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Response(status=error.status, headers=headers, body=text.encode())


def _s3(error: AwsError, *, head: bool) -> Response:
    ids = request_ids.of_s3()
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{_text(error.code)}</Code>'
        f"<Message>{_text(error.message)}</Message>"
        + "".join(f"<{name}>{_text(value)}</{name}>" for name, value in error.details.items())
        + (f"<Resource>{_text(error.resource)}</Resource>" if error.resource else "")
        + f"<RequestId>{ids[0][1]}</RequestId><HostId>{ids[1][1]}</HostId></Error>"
    )
    headers = [*ids, ("Content-Type", "application/xml")]
    headers += error.headers
    # A HEAD has no body, so S3 tells a client only the status; SDKs show it as the code.
    return Response(status=error.status, headers=headers, body=b"" if head else text.encode())


def _text(value: str) -> str:
    """As XML text; what XML 1.0 has no way to write is a question mark."""
    return escape(_NO_XML.sub("?", value))


def _cbor_text(value: str) -> bytes:
    """A CBOR text string (RFC 8949, major type 3) of at most 65,535 bytes."""
    data = value.encode("utf-8", "replace")[:65_535]
    return b"\x79" + len(data).to_bytes(2, "big") + data
