"""Which operation of which service a request is, read from botocore's own service models.

S3 has its own table (s3_operations.py): its operations differ by sub-resource in the query string, and one request can need
several permissions.

A request that says two things (an action in its query string and another in its body, one parameter twice) is refused or written
anew, because the gate and the emulator must not read two calls out of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, cast
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

LONGEST_BODY: Final = 1024 * 1024  # bytes of a JSON body that is read for its parameters
RPC: Final = re.compile(r"/service/[A-Za-z0-9_.]+/operation/([A-Za-z0-9_]+)")
FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of one service. `parameters` are the call's own (form, JSON body or URI), as far as the gate needs them."""

    service: str  # the signing name
    name: str  # as in the service model: CreateRole
    protocol: str  # the one it was sent in: query, ec2, json, rest-json, rest-xml, smithy-rpc-v2-cbor
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

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
    protocol: str
    operations: frozenset[str]
    routes: tuple[Route, ...]


@lru_cache(maxsize=64)
def model(service: str) -> Model | None:
    """The service's model by signing name, or None for a service botocore does not know."""
    source = service_models.source(MODELS.get(service, service))
    if source is None:
        return None
    protocol = str(source["metadata"]["protocol"])
    routes: list[Route] = []
    if protocol.startswith("rest-"):
        routes = [_route(source["shapes"], name, operation) for name, operation in source["operations"].items()]
        # A fixed segment is a better match than a placeholder, a path with query parameters of its own a better one than without.
        routes.sort(key=lambda route: (route.path.groups, -len(route.literal)))
    return Model(protocol=protocol, operations=frozenset(source["operations"]), routes=tuple(routes))


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


def identify(request: Request, service: str) -> Operation:
    """The operation a signed request of `service` (not S3) asks for.

    Raises AwsError: InvalidAction or UnknownOperationException when the service has no such operation, and for a request that names
    more than one.
    """
    found = model(service)
    if found is None:
        raise AwsError("InvalidAction", f"The service {service[:60]} is not known here.", 400)
    target = request.headers.get("x-amz-target", "")
    rpc = RPC.fullmatch(request.path)
    by_form = "Action" in request.form
    if bool(target) + bool(rpc and "smithy-protocol" in request.headers) + by_form > 1:
        raise _unknown(service, "a request that names more than one operation")
    if rpc is not None and "smithy-protocol" in request.headers:
        return _rpc(request, service, found, rpc[1])
    if target:
        return _target(request, service, found, target)
    if found.protocol in {"query", "ec2"} or (by_form and not found.protocol.startswith("rest-")):
        return _query(request, service, found)
    if by_form or not found.routes:
        raise _unknown(service, f"{request.method} {request.path[:120]}")
    return _rest(request, service, found)


def _unknown(service: str, what: str) -> AwsError:
    return AwsError("UnknownOperationException", f"{what} is no operation of {service[:60]}.", 404)


def _target(request: Request, service: str, found: Model, target: str) -> Operation:
    name = target.rpartition(".")[2]
    if found.protocol.startswith("rest-") or found.protocol == "ec2" or name not in found.operations:
        raise AwsError(
            "UnknownOperationException", f"The operation {name[:80] or '(none)'} is not one of {service}.", 400
        )
    return Operation(service=service, name=name, protocol="json", parameters=_json_body(request))


def _rpc(request: Request, service: str, found: Model, name: str) -> Operation:
    """CBOR over RPC v2. Its body is not read, so the call is judged on "*"."""
    if name not in found.operations or request.headers["smithy-protocol"] != "rpc-v2-cbor":
        raise _unknown(service, name[:80])
    return Operation(service=service, name=name, protocol="smithy-rpc-v2-cbor")


def _query(request: Request, service: str, found: Model) -> Operation:
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
    if request.path not in {"", "/"}:
        raise _unknown(service, f"{request.method} {request.path[:120]}")
    protocol = "ec2" if found.protocol == "ec2" else "query"
    return Operation(service=service, name=name, protocol=protocol, parameters=form)


def _rest(request: Request, service: str, found: Model) -> Operation:
    asked = parse_qsl(request.query, keep_blank_values=True)
    for route in found.routes:
        if route.method != request.method or not set(route.literal) <= set(asked):
            continue
        match = route.path.match(request.path)
        if match is None:
            continue
        names = [name for name, _ in asked if name not in route.lists]
        if len(names) != len(set(names)):
            raise AwsError("ValidationException", "A query parameter is given twice.", 400)
        sent = _json_body(request) if found.protocol == "rest-json" and route.body else {}
        parameters = {member: sent[there] for there, member in route.body.items() if there in sent}
        parameters |= {member: dict(asked)[there] for there, member in route.query.items() if there in dict(asked)}
        parameters |= {member: unquote(match[group]) for group, member in route.uri.items()}
        return Operation(service=service, name=route.operation, protocol=found.protocol, parameters=parameters)
    raise _unknown(service, f"{request.method} {request.path[:120]}")


def _json_body(request: Request) -> dict[str, Any]:
    if not 0 < request.body.length <= LONGEST_BODY:
        return {}
    try:
        value = json.loads(request.body.read())
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def canonical(request: Request, operation: Operation) -> Request:
    """The same call, said once: the emulator prefers a query string to a body and the first of two equal parameters to the last."""
    if operation.protocol in {"query", "ec2"}:
        body = Body([urlencode(operation.parameters, errors="surrogateescape").encode()])
        headers = {**request.headers, "content-type": FORM}
        return replace(request, method="POST", path="/", query="", headers=headers, body=body)
    if operation.protocol == "json":
        return replace(request, method="POST", path="/", query="")
    return request
