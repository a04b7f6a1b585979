"""Which operation of which service a request is, read from botocore's own service models.

S3 has its own table (s3/operations.py): its operations differ by sub-resource in the query string, and one request can need
several permissions.

A request that could be read in two ways (an action in its query string and another in its body, one parameter twice) is refused
or written anew: the gate and the emulator must not read two calls out of it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NoReturn, cast
from urllib.parse import parse_qsl, unquote, urlencode

from towpath.sandbox import service_models, services
from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Body, Request

# Signing names whose botocore model has another name.
MODELS: Final = {
    "monitoring": "cloudwatch",
    "email": "ses",
    "elasticloadbalancing": "elbv2",
    "elasticmapreduce": "emr",
    "es": "opensearch",
    "mobiletargeting": "pinpoint",
    "states": "stepfunctions",
    "bedrock": "bedrock-runtime",
    "tagging": "resourcegroupstaggingapi",
}
# IAM's action prefix where it differs from the signing name.
PREFIXES: Final = {"monitoring": "cloudwatch", "email": "ses", "tagging": "tag"}

LONGEST_BODY: Final = 16 * 1024 * 1024  # bytes; what is not read for its parameters is not carried out either
CBOR: Final = "smithy-rpc-v2-cbor"
_CBOR_PATH: Final = re.compile(r"/service/([A-Za-z0-9_]+)/operation/([A-Za-z0-9]+)")
_NAMED_BY: Final = {"json": "x-amz-target", CBOR: "smithy-protocol"}  # the header that names the operation
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/")
FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of one service. `parameters` are the call's own (form, JSON, CBOR or URI), as far as the gate needs them."""

    service: str  # the signing name
    name: str  # as in the service model: CreateRole
    protocol: str  # the one it was sent in: query, ec2, json, rest-json, rest-xml, smithy-rpc-v2-cbor
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    in_path: frozenset[str] = frozenset()  # names of what a REST path says, which no body says otherwise

    @property
    def action(self) -> str:
        """As IAM names it."""
        name = services.table(self.service).actions.get(self.name, self.name)
        return f"{PREFIXES.get(self.service, self.service)}:{name}"


@dataclass(frozen=True, kw_only=True)
class Route:
    """One way to ask by method and path. `uri`, `query` and `body` are the parameters it takes from each: name there -> name."""

    method: str
    path: re.Pattern[str]
    literal: tuple[tuple[str, str], ...]  # query parameters that belong to the path
    operation: str
    uri: Mapping[str, str]
    query: Mapping[str, str]
    lists: frozenset[str]  # of `query`, those that may be repeated
    body: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Model:
    protocols: frozenset[str]  # every one the service speaks
    json_version: str
    target_prefix: str  # of X-Amz-Target, and the service's name in CBOR's path
    operations: frozenset[str]
    routes: tuple[Route, ...]


@lru_cache(maxsize=64)
def model(service: str) -> Model | None:
    """The service's model by signing name, or None for a service botocore does not know."""
    source = service_models.source(MODELS.get(service, service))
    if source is None:
        return None
    metadata = source["metadata"]
    protocols = frozenset(str(name) for name in metadata.get("protocols") or [metadata["protocol"]])
    routes: list[Route] = []
    if protocols & {"rest-json", "rest-xml"}:
        routes = [_route(source["shapes"], name, operation) for name, operation in source["operations"].items()]
        # A fixed segment is a better match than a placeholder, a path with query parameters of its own a better one than without.
        routes.sort(key=lambda route: (route.path.groups, -len(route.literal)))
    return Model(
        protocols=protocols,
        json_version=str(metadata.get("jsonVersion", "1.1")),
        target_prefix=str(metadata.get("targetPrefix", "")),
        operations=frozenset(source["operations"]),
        routes=tuple(routes),
    )


def _route(shapes: Mapping[str, Any], name: str, operation: Mapping[str, Any]) -> Route:
    path, _, literal = str(operation.get("http", {}).get("requestUri", "/")).partition("?")
    uri: dict[str, str] = {}
    query: dict[str, str] = {}
    body: dict[str, str] = {}
    lists: set[str] = set()
    shape = shapes[operation["input"]["shape"]] if "input" in operation else {"members": {}}
    for member, target in shape["members"].items():
        there = str(target.get("locationName", member))
        location = target.get("location")
        if location == "uri":
            uri[_group(there)] = member
        elif location == "querystring":
            query[there] = member
            if shapes[target["shape"]]["type"] in {"list", "map"}:
                lists.add(there)
        elif location is None and shape.get("payload") in {None, member}:
            body[there] = member
    return Route(
        method=operation.get("http", {}).get("method", "POST"),
        path=_pattern(path),
        literal=tuple(parse_qsl(literal, keep_blank_values=True)),
        operation=name,
        uri=uri,
        query=query,
        lists=frozenset(lists),
        body={} if "payload" in shape else body,
    )


def _pattern(path: str) -> re.Pattern[str]:
    out = ""
    for part in re.split(r"(\{[^}]+\})", path):
        if part.startswith("{"):
            out += f"(?P<{_group(part)}>.+)" if part.endswith("+}") else f"(?P<{_group(part)}>[^/]+)"
        else:
            out += re.escape(part)
    return re.compile(out + "$")


def _group(name: str) -> str:
    return re.sub(r"\W", "_", name.strip("{}+"))


def protocol(request: Request, service: str) -> str:
    """The protocol a request to `service` (not S3) speaks, as an error is to be written for it."""
    found = model(service)
    if request.body.length > LONGEST_BODY:
        raise AwsError("RequestEntityTooLarge", f"A call has at most {LONGEST_BODY} bytes.", 413)
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
        return _target(request, service, found)
    if spoken == CBOR:
        return _rpc(request, service, found)
    return _rest(request, service, found, spoken)


def _unknown(message: str, status: int = 400) -> AwsError:
    return AwsError("UnknownOperationException", message, status)


def _target(request: Request, service: str, found: Model) -> Operation:
    prefix, _, name = request.headers.get("x-amz-target", "").rpartition(".")
    if name not in found.operations or prefix != found.target_prefix:
        raise _unknown(f"The operation {name[:80] or '(none)'} is not one of {service}.")
    _check_json(request)
    return Operation(service=service, name=name, protocol="json", parameters=_json_body(request))


def _rpc(request: Request, service: str, found: Model) -> Operation:
    match = _CBOR_PATH.fullmatch(request.path)
    if request.headers["smithy-protocol"] != "rpc-v2-cbor" or match is None or match[1] != found.target_prefix:
        raise _unknown(f"{request.path[:120]} is no operation of {service}.")
    if match[2] not in found.operations:
        raise _unknown(f"The operation {match[2][:80]} is not one of {service}.")
    return Operation(service=service, name=match[2], protocol=CBOR, parameters=_cbor_body(request))


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


def _rest(request: Request, service: str, found: Model, spoken: str) -> Operation:
    if "Action" in request.form:
        raise _unknown("A REST operation takes no Action.")  # the emulator would follow it
    asked = parse_qsl(request.query, keep_blank_values=True)
    for route in found.routes:
        if route.method != request.method or not set(route.literal) <= set(asked):
            continue
        match = route.path.match(request.path)
        if match is None:
            continue
        if _decoded_is_another(request, found, route):
            raise _unknown(f"{request.method} {request.path[:120]} is no operation of {service}.", 404)
        names = [name for name, _ in asked if name not in route.lists]
        if len(names) != len(set(names)):
            raise AwsError("ValidationException", "A query parameter is given twice.", 400)
        if spoken == "rest-json" and (route.body or request.method in {"GET", "HEAD", "DELETE"}):
            _check_json(request)
        sent = _json_body(request) if spoken == "rest-json" and route.body else {}
        parameters = {member: sent[there] for there, member in route.body.items() if there in sent}
        parameters |= {member: dict(asked)[there] for there, member in route.query.items() if there in dict(asked)}
        parameters |= {member: unquote(match[group]) for group, member in route.uri.items()}
        return Operation(
            service=service,
            name=route.operation,
            protocol=spoken,
            parameters=parameters,
            in_path=frozenset({*route.uri, *route.uri.values()} - set(route.body)),
        )
    raise _unknown(f"{request.method} {request.path[:120]} is no operation of {service}.", 404)


def _decoded_is_another(request: Request, found: Model, route: Route) -> bool:
    """Whether an encoded slash makes another operation of the path once it is decoded, as the emulator reads it."""
    path = unquote(request.path)
    return path.count("/") != request.path.count("/") and any(
        other.method == request.method and other.operation != route.operation and other.path.match(path)
        for other in found.routes
    )


def _check_json(request: Request) -> None:
    """A body is a JSON object or there is none; the emulator breaks on anything else."""
    text = request.body.read()
    try:
        good = not text or isinstance(_json(text), dict)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise AwsError("SerializationException", "The request body is not a JSON object.", 400)


def _json(text: bytes) -> Any:
    """As the emulator reads it and no other way: UTF-8, without NaN or half of a character. Raises ValueError, RecursionError."""
    value = json.loads(text.decode(), parse_constant=_no_constant)
    if b"\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _json_body(request: Request) -> dict[str, Any]:
    if not request.body.length:
        return {}
    try:
        value = _json(request.body.read())
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _cbor_body(request: Request) -> dict[str, Any]:
    """CBOR as far as it is a map; its values matter for tags and names alone."""
    if not request.body.length:
        return {}
    from botocore.parsers import BaseCBORParser

    parser: Any = BaseCBORParser()
    try:
        value = parser.parse_data_item(io.BufferedReader(io.BytesIO(request.body.read())))
    except Exception:  # whatever malformed bytes make of it, there are no parameters
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def plain(request: Request, operation: Operation) -> Request:
    """The request as the emulator gets it: the operation and its parameters are named once, as the gate read them.

    The emulator itself prefers an action in a form, then one in the query string, then, when there is neither, one it finds in a body
    of any kind or among the headers, to the one the protocol names. So a form it gets only where the protocol is one, and otherwise a
    query string that is not empty and names no action.
    """
    dropped = {"authorization", "x-amz-security-token"}
    dropped |= {"x-amz-target", "smithy-protocol"} - {_NAMED_BY.get(operation.protocol, "")}
    headers = {name: value for name, value in request.headers.items() if name not in dropped}
    if operation.protocol in {"query", "ec2"}:
        headers["content-type"] = FORM
        body = Body([urlencode({name: str(value) for name, value in operation.parameters.items()}).encode()])
        return replace(request, method="POST", path="/", query="", headers=headers, body=body)
    named = f"x-id={operation.name}"  # as SDKs name the operation in a URL, for logs
    if operation.protocol == "json":
        found = model(operation.service)
        headers["content-type"] = f"application/x-amz-json-{found.json_version if found else '1.1'}"
        return replace(request, method="POST", path="/", query=named, headers=headers)
    if operation.protocol == CBOR:
        headers["content-type"] = "application/cbor"
        return replace(request, method="POST", query=named, headers=headers)
    if headers.get("content-type", "").lower().startswith(_FORMS):
        headers["content-type"] = "application/octet-stream"
    # The emulator would go by the body where the path names it too.
    if operation.protocol == "rest-json" and operation.in_path & (sent := _json_body(request)).keys():
        kept = {name: value for name, value in sent.items() if name not in operation.in_path}
        request = replace(request, body=Body([json.dumps(kept).encode()]))
    return replace(request, query="&".join(filter(None, (request.query, named))), headers=headers)
