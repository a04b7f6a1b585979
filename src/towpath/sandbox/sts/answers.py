"""What STS answers, in its XML."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from towpath.sandbox import request_ids
from towpath.sandbox.errors import STS_NAMESPACE
from towpath.sandbox.principals import Key, Principal
from towpath.sandbox.wire import Response

Elements = Mapping[str, str | int | None]
"""Name -> text, in order; None leaves the element out."""

_HEADERS: Final = ("Content-Type", "text/xml")


def answer(operation: str, *parts: str) -> Response:
    """`parts` are XML already."""
    request_id = request_ids.uuid()
    text = (
        f'<{operation}Response xmlns="{STS_NAMESPACE}"><{operation}Result>{"".join(parts)}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    )
    return Response(status=200, headers=[_HEADERS, ("x-amzn-RequestId", request_id)], body=text.encode())


def elements(found: Elements) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in found.items() if value is not None)


def credentials(key: Key) -> str:
    end = key.expires_at or datetime.now(UTC)
    return (
        f"<Credentials><AccessKeyId>{key.access_key}</AccessKeyId><SecretAccessKey>{key.secret}</SecretAccessKey>"
        f"<SessionToken>{key.session_token}</SessionToken><Expiration>{end:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
    )


def assumed_role(principal: Principal) -> str:
    return f"<AssumedRoleUser>{elements({'AssumedRoleId': principal.user_id, 'Arn': principal.arn})}</AssumedRoleUser>"


def federated_user(principal: Principal) -> str:
    return f"<FederatedUser>{elements({'FederatedUserId': principal.user_id, 'Arn': principal.arn})}</FederatedUser>"
