"""Which operation of which service a request is, read from botocore's own service models.

S3 has its own table (s3/operations.py): its operations differ by sub-resource in the query string, and one request can need
several permissions.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import unquote, urlencode

from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Body, Request

# Signing names whose botocore model has another name.
MODELS: Final = {
    "monitoring": "cloudwatch",
    "email": "ses",
    "elasticloadbalancing": "elbv2",
    "states": "stepfunctions",
    "bedrock-runtime": "bedrock-runtime",
}
# IAM's action prefix where it differs from the signing name.
CBOR: Final = "smithy-rpc-v2-cbor"
_CBOR_PATH: Final = re.compile(r"/service/([A-Za-z0-9_]+)/operation/([A-Za-z0-9]+)")
_NAMED_BY: Final = {"json": "x-amz-target", CBOR: "smithy-protocol"}  # the header that names the operation
PREFIXES: Final = {"monitoring": "cloudwatch", "email": "ses", "eks-auth": "eks-auth"}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of one service. `parameters` are the call's own (form, JSON, CBOR or URI), as far as the gate needs them."""

    service: str  # the signing name
    name: str  # as in the service model: CreateRole
    protocol: str  # the one it came by: query, ec2, json, rest-json, rest-xml, smithy-rpc-v2-cbor
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def action(self) -> str:
        """As IAM names it."""
        return f"{PREFIXES.get(self.service, self.service)}:{self.name}"


@dataclass(frozen=True, kw_only=True)
class Model:
    protocols: frozenset[str]  # every one the service speaks
    json_version: str
    target_prefix: str  # of X-Amz-Target, and the service's name in CBOR's path
    operations: frozenset[str]
    routes: tuple[tuple[str, re.Pattern[str], str], ...]  # method, path, operation


@lru_cache(maxsize=64)
def model(service: str) -> Model | None:
    """The service's model by signing name, or None for a service botocore does not know."""
    import botocore.exceptions
    import botocore.session

    loader: Any = botocore.session.Session().get_component("data_loader")
    try:
        source = cast("dict[str, Any]", loader.load_service_model(MODELS.get(service, service), "service-2"))
    except (botocore.exceptions.DataNotFoundError, botocore.exceptions.UnknownServiceError):
        return None
    routes: list[tuple[str, re.Pattern[str], str]] = []
    for name, operation in source["operations"].items():
        http = operation.get("http", {})
        path = str(http.get("requestUri", "/")).partition("?")[0]
        routes.append((http.get("method", "POST"), _pattern(path), name))
    # A fixed segment is a better match than a placeholder, so the routes with fewer placeholders come first.
    routes.sort(key=lambda route: route[1].groups)
    metadata = source["metadata"]
    return Model(
        protocols=frozenset(metadata.get("protocols") or [metadata["protocol"]]),
        json_version=metadata.get("jsonVersion", "1.1"),
        target_prefix=metadata.get("targetPrefix", ""),
        operations=frozenset(source["operations"]),
        routes=tuple(routes),
    )


def _pattern(path: str) -> re.Pattern[str]:
    out = ""
    for part in re.split(r"(\{[^}]+\})", path):
        if part.startswith("{"):
            name = re.sub(r"\W", "_", part.strip("{}+"))
            out += f"(?P<{name}>.+)" if part.endswith("+}") else f"(?P<{name}>[^/]+)"
        else:
            out += re.escape(part)
    return re.compile(out + "$")


def protocol(request: Request, service: str) -> str:
    """The protocol a request to `service` (not S3) speaks, as an error is to be written for it."""
    found = model(service)
    spoken = _spoken(request, found) if found is not None else "query"
    return f"json-{found.json_version}" if found is not None and spoken == "json" else spoken


def _spoken(request: Request, found: Model) -> str:
    if "smithy-protocol" in request.headers:
        return CBOR
    if "x-amz-target" in request.headers:
        return "json"
    rest = found.protocols & {"rest-json", "rest-xml"}
    if rest:
        return min(rest)
    return next((name for name in ("query", "ec2") if name in found.protocols), "json")


def identify(request: Request, service: str) -> Operation:
    """The operation a signed request of `service` (not S3) asks for.

    Raises AwsError InvalidAction or UnknownOperationException when the service has no such operation, or does not speak the
    request's protocol: what the gate cannot read does not pass it.
    """
    found = model(service)
    if found is None:
        raise AwsError("InvalidAction", f"The service {service[:60]} is not known here.", 400)
    spoken = _spoken(request, found)
    if spoken not in found.protocols:
        raise _unknown(f"{service} is not spoken to by {spoken} here.")
    if spoken in {"query", "ec2"}:
        return _query(request, service, found, spoken)
    if spoken == "json":
        prefix, _, name = request.headers.get("x-amz-target", "").rpartition(".")
        if name not in found.operations or prefix != found.target_prefix:
            raise _unknown(f"The operation {name[:80] or '(none)'} is not one of {service}.")
        return Operation(service=service, name=name, protocol=spoken, parameters=_json_body(request))
    if spoken == CBOR:
        match = _CBOR_PATH.fullmatch(request.path)
        if request.headers["smithy-protocol"] != "rpc-v2-cbor" or match is None or match[1] != found.target_prefix:
            raise _unknown(f"{request.path[:120]} is no operation of {service}.")
        if match[2] not in found.operations:
            raise _unknown(f"The operation {match[2][:80]} is not one of {service}.")
        return Operation(service=service, name=match[2], protocol=spoken, parameters=_cbor_body(request))
    if "Action" in request.arguments:
        raise _unknown("A REST operation takes no Action.")  # the emulator would follow it
    for method, pattern, name in found.routes:
        if method == request.method and (match := pattern.match(request.path)):
            parameters = (
                {key: unquote(value) for key, value in match.groupdict().items()}
                | dict(request.arguments)
                | _json_body(request)
            )
            return Operation(service=service, name=name, protocol=spoken, parameters=parameters)
    raise AwsError(
        "UnknownOperationException", f"{request.method} {request.path[:120]} is no operation of {service}.", 404
    )


def plain(request: Request, operation: Operation) -> Request:
    """The request as the emulator gets it: the operation is named in one place only, the one the gate read."""
    dropped = {"authorization", "x-amz-security-token"}
    dropped |= {"x-amz-target", "smithy-protocol"} - {_NAMED_BY.get(operation.protocol, "")}
    headers = {name: value for name, value in request.headers.items() if name not in dropped}
    if operation.protocol in {"query", "ec2"}:
        headers["content-type"] = "application/x-www-form-urlencoded; charset=utf-8"
        body = Body([urlencode({name: str(value) for name, value in request.form.items()}).encode()])
        return replace(request, method="POST", path="/", query="", headers=headers, body=body)
    if operation.protocol == "json":
        found = model(operation.service)
        headers["content-type"] = f"application/x-amz-json-{found.json_version if found else '1.1'}"
        return replace(request, method="POST", path="/", query="", headers=headers)
    if operation.protocol == CBOR:
        headers["content-type"] = "application/cbor"
        return replace(request, method="POST", query="", headers=headers)
    return replace(request, headers=headers)


def _unknown(message: str) -> AwsError:
    return AwsError("UnknownOperationException", message, 400)


def _query(request: Request, service: str, found: Model, spoken: str) -> Operation:
    form = request.form
    name = form.get("Action", "")
    if not name:
        raise AwsError("MissingAction", "The request must contain the parameter Action.", 400)
    if name not in found.operations:
        raise AwsError(
            "InvalidAction",
            f"Could not find operation {name[:80]} for version {form.get('Version', 'NO_VERSION_SPECIFIED')[:20]}",
            400,
        )
    return Operation(service=service, name=name, protocol=spoken, parameters=form)


def _json_body(request: Request) -> dict[str, Any]:
    if not 0 < request.body.length <= 1024 * 1024:
        return {}
    try:
        value = json.loads(request.body.read())
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _cbor_body(request: Request) -> dict[str, Any]:
    """CBOR as far as it is a map; its values matter for tags and names alone."""
    if not 0 < request.body.length <= 1024 * 1024:
        return {}
    from botocore.parsers import BaseCBORParser

    parser: Any = BaseCBORParser()
    try:
        value = parser.parse_data_item(io.BufferedReader(io.BytesIO(request.body.read())))
    except Exception:  # whatever malformed bytes make of it, there are no parameters
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
