"""Refusals in AWS's own words, and their bodies in each of AWS's protocols.

`AwsError` is what the gate answers to an SDK; `SandboxError` is what towpath says to the person who starts a sandbox.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Final
from xml.sax.saxutils import escape

from towpath.errors import WorldError
from towpath.sandbox.wire import Response

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


def render(error: AwsError, *, service: str, protocol: str, head: bool = False) -> Response:
    """The error as a client of `service` expects it. `protocol`: query, ec2, json, rest-json, rest-xml (botocore's)."""
    request_id = str(uuid.uuid4())
    if service == "s3":
        s3_id = request_id.replace("-", "").upper()[:16]
        headers = [("x-amz-request-id", s3_id), ("x-amz-id-2", uuid.uuid4().hex), ("Content-Type", "application/xml")]
        headers += error.headers
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(error.code)}</Code>'
            f"<Message>{escape(error.message)}</Message>"
            + "".join(f"<{name}>{escape(value)}</{name}>" for name, value in error.details.items())
            + (f"<Resource>{escape(error.resource)}</Resource>" if error.resource else "")
            + f"<RequestId>{s3_id}</RequestId></Error>"
        )
        # A HEAD has no body, so S3 tells a client only the status; SDKs show it as the code.
        return Response(status=error.status, headers=headers, body=b"" if head else text.encode())
    headers = [("x-amzn-RequestId", request_id)]
    if protocol in {"json", "rest-json"}:
        headers += [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", error.code)]
        body = json.dumps({"__type": error.code, "message": error.message}).encode()
        return Response(status=error.status, headers=headers, body=body)
    kind = "Receiver" if error.status >= 500 else "Sender"
    namespace = QUERY_NAMESPACES.get(service, f"https://{service}.amazonaws.com/doc/")
    text = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Response(status=error.status, headers=[*headers, ("Content-Type", "text/xml")], body=text.encode())


def throttled() -> AwsError:
    return AwsError("Throttling", "Rate exceeded", 400)
