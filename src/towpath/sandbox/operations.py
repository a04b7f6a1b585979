"""Which operation of which service a request is, read from botocore's own service models.

S3 has its own table (s3_operations.py): its operations differ by sub-resource in the query string, and one request can need
several permissions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import unquote

from towpath.sandbox import service_models
from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Request

# Signing names whose botocore model has another name.
MODELS: Final = {
    "monitoring": "cloudwatch",
    "email": "ses",
    "elasticloadbalancing": "elbv2",
    "states": "stepfunctions",
    "bedrock-runtime": "bedrock-runtime",
}
# IAM's action prefix where it differs from the signing name.
PREFIXES: Final = {"monitoring": "cloudwatch", "email": "ses", "eks-auth": "eks-auth"}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of one service. `parameters` are the call's own (form, JSON body or URI), as far as the gate needs them."""

    service: str  # the signing name
    name: str  # as in the service model: CreateRole
    protocol: str  # botocore's: query, ec2, json, rest-json, rest-xml
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def action(self) -> str:
        """As IAM names it."""
        return f"{PREFIXES.get(self.service, self.service)}:{self.name}"


@dataclass(frozen=True, kw_only=True)
class Model:
    protocol: str
    operations: frozenset[str]
    routes: tuple[tuple[str, re.Pattern[str], str], ...]  # method, path, operation


@lru_cache(maxsize=64)
def model(service: str) -> Model | None:
    """The service's model by signing name, or None for a service botocore does not know."""
    source = service_models.source(MODELS.get(service, service))
    if source is None:
        return None
    routes: list[tuple[str, re.Pattern[str], str]] = []
    for name, operation in source["operations"].items():
        http = operation.get("http", {})
        path = str(http.get("requestUri", "/")).partition("?")[0]
        routes.append((http.get("method", "POST"), _pattern(path), name))
    # A fixed segment is a better match than a placeholder, so the routes with fewer placeholders come first.
    routes.sort(key=lambda route: route[1].groups)
    return Model(
        protocol=source["metadata"]["protocol"], operations=frozenset(source["operations"]), routes=tuple(routes)
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


def identify(request: Request, service: str) -> Operation:
    """The operation a signed request of `service` (not S3) asks for.

    Raises AwsError InvalidAction or UnknownOperationException when the service has no such operation.
    """
    found = model(service)
    if found is None:
        raise AwsError("InvalidAction", f"The service {service[:60]} is not known here.", 400)
    if found.protocol in {"query", "ec2"}:
        return _query(request, service, found)
    target = request.headers.get("x-amz-target", "")
    if found.protocol == "json" or target:
        name = target.rpartition(".")[2]
        if name not in found.operations:
            raise AwsError(
                "UnknownOperationException", f"The operation {name[:80] or '(none)'} is not one of {service}.", 400
            )
        return Operation(service=service, name=name, protocol=found.protocol, parameters=_json_body(request))
    for method, pattern, name in found.routes:
        if method == request.method and (match := pattern.match(request.path)):
            parameters = (
                {key: unquote(value) for key, value in match.groupdict().items()}
                | dict(request.arguments)
                | _json_body(request)
            )
            return Operation(service=service, name=name, protocol=found.protocol, parameters=parameters)
    raise AwsError(
        "UnknownOperationException", f"{request.method} {request.path[:120]} is no operation of {service}.", 404
    )


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
    return Operation(service=service, name=name, protocol=found.protocol, parameters=form)


def _json_body(request: Request) -> dict[str, Any]:
    if not 0 < request.body.length <= 1024 * 1024:
        return {}
    try:
        value = json.loads(request.body.read())
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
