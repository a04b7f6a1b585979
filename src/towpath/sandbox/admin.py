"""The sandbox's own HTTP interface, under `/.towpath/`: tokens, service accounts, calls, faults, reset, the issuers' documents.

No S3 bucket can have that name. Everything but the issuers' public documents needs the secret made for this run.
"""

from __future__ import annotations

import hmac
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from towpath.errors import UsageError
from towpath.sandbox.accounts import Accounts
from towpath.sandbox.clusters import Cluster, Clusters
from towpath.sandbox.faults import Fault, Faults
from towpath.sandbox.record import Record
from towpath.sandbox.wire import Request, Response

PREFIX: Final = "/.towpath"
NAMES: Final = "a namespace and a service account have Kubernetes names: lower-case letters, digits and '-'"
LARGEST_BODY: Final = 1024 * 1024  # bytes
LONGEST_TOKEN: Final = 2**32  # seconds, as in Kubernetes' TokenRequest
LONGEST_WAIT: Final = 20.0  # seconds one request for calls is held open
WAITING: Final = 4  # requests held open at once: each holds a thread of the server, and the gate needs the others
# Names of objects, and of labels and annotations (Kubernetes, "Object Names and IDs", "Labels and Selectors").
NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
KEY: Final = re.compile(r"(?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_ACCOUNT: Final = re.compile(r"^/clusters/([^/]+)/namespaces/([^/]+)/serviceaccounts(?:/([^/]+))?$")
_ROOT: Final = re.compile(r"^/accounts/([0-9]{12})$")
_ISSUER: Final = re.compile(r"^/issuers/([0-9A-F]{32})/(\.well-known/openid-configuration|keys)$")


class Admin:
    """Answers what lies under PREFIX."""

    def __init__(
        self,
        *,
        clusters: Clusters,
        record: Record,
        faults: Faults,
        secret: str,
        accounts: Accounts,
        reset: Callable[[], None] | None = None,
    ) -> None:
        self._accounts = accounts
        self._clusters = clusters
        self._record = record
        self._faults = faults
        self._secret = secret
        self._reset = reset
        self._waiting = threading.BoundedSemaphore(WAITING)

    def answer(self, request: Request) -> Response:
        path = request.key_path.removeprefix(PREFIX)
        if request.method == "GET" and (match := _ISSUER.match(path)):
            return self._issuer(match[1], match[2])
        if not hmac.compare_digest(
            request.headers.get("authorization", "").encode(), f"Bearer {self._secret}".encode()
        ):
            return _error(
                401,
                "the sandbox's own interface needs `Authorization: Bearer $TOWPATH_SANDBOX_SECRET`, the secret printed when it started",
            )
        if path == "/calls" and request.method == "GET":
            return self._calls(request)
        if path == "/faults":
            return self._change_faults(request)
        if path == "/reset" and request.method == "POST":
            if self._reset is None:
                return _error(501, "this sandbox cannot be reset; start another")
            self._reset()
            return _json(200, {"status": "Success"})
        if request.method == "GET" and (match := _ROOT.match(path)):
            key = self._accounts.root(match[1])
            return _json(
                200,
                {"account": match[1], "accessKeyId": key.access_key, "secretAccessKey": key.secret},
            )
        if path == "/token" and request.method == "POST":
            return self._token(request)
        if match := _ACCOUNT.match(path):
            return self._service_accounts(request, *match.groups())
        return _error(404, f"there is nothing at {request.method} {PREFIX}{path[:120]}")

    def _calls(self, request: Request) -> Response:
        """Calls after a number. `wait` seconds: until there is one, so that a reader need not ask again and again."""
        after, wait = request.arguments.get("after", "0"), request.arguments.get("wait", "0")
        number = int(after) if re.fullmatch(r"[0-9]{1,15}", after) else 0
        seconds = min(float(wait), LONGEST_WAIT) if re.fullmatch(r"\d{1,4}(\.\d{1,3})?", wait) else 0.0
        if not seconds or not self._waiting.acquire(blocking=False):
            return _json(200, {"calls": self._record.as_json(number)})
        try:
            return _json(200, {"calls": self._record.as_json(number, wait=seconds)})
        finally:
            self._waiting.release()

    def _change_faults(self, request: Request) -> Response:
        if request.method == "POST":
            body = _object(request)
            texts = body.get("fail") if body is not None else None
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in cast("list[object]", texts)):
                return _error(400, 'the body is {"fail": ["service:action:code:rate", …]}')
            try:
                found = [Fault.parse(text) for text in cast("list[str]", texts)]
            except UsageError as error:
                return _error(400, f"{error.what}; {error.todo}")
            for fault in found:
                self._faults.add(fault)
        elif request.method == "DELETE":
            return _json(200, {"cleared": self._faults.clear()})
        elif request.method != "GET":
            return _error(405, "GET, POST or DELETE")
        return _json(200, {"faults": self._faults.as_json()})

    def _issuer(self, identifier: str, document: str) -> Response:
        cluster = self._clusters.of_issuer(identifier)
        if cluster is None:
            return _error(404, "no cluster of this sandbox has that issuer")
        return _json(200, cluster.issuer.jwks() if document == "keys" else cluster.issuer.discovery_document())

    def _cluster(self, name: str) -> Cluster | Response:
        found = self._clusters.named(name)
        return found or _error(404, f"no cluster {name} in this sandbox; it has {', '.join(self._clusters.names())}")

    def _token(self, request: Request) -> Response:
        body = _object(request)
        if body is None:
            return _error(400, "the body is not a JSON object")
        cluster = self._cluster(str(body.get("cluster", "sandbox")))
        if isinstance(cluster, Response):
            return cluster
        namespace, name = body.get("namespace"), body.get("serviceAccount")
        audiences, expires_in = body.get("audiences"), body.get("expiresIn", 3600)
        if not _is_name(namespace, NAMESPACE) or not _is_name(name, NAME):
            return _error(400, NAMES)
        if audiences is not None and not (
            isinstance(audiences, list)
            and audiences
            and all(isinstance(item, str) for item in cast("list[object]", audiences))
        ):
            return _error(400, "audiences is a list of strings, or null for sts.amazonaws.com")
        if not isinstance(expires_in, int) or isinstance(expires_in, bool) or abs(expires_in) > LONGEST_TOKEN:
            return _error(400, f"expiresIn is a whole number of seconds between -{LONGEST_TOKEN} and {LONGEST_TOKEN}")
        token, end = cluster.token(
            str(namespace), str(name), audiences=cast("list[str] | None", audiences), expires_in=expires_in
        )
        return _json(200, {"token": token, "expiresAt": end.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def _service_accounts(self, request: Request, cluster_name: str, namespace: str, name: str | None) -> Response:
        cluster = self._cluster(cluster_name)
        if isinstance(cluster, Response):
            return cluster
        if not _is_name(namespace, NAMESPACE) or (name is not None and not _is_name(name, NAME)):
            return _error(400, NAMES)
        if name is None:
            return (
                _json(200, {"items": [found.as_kubernetes() for found in cluster.all(namespace)]})
                if request.method == "GET"
                else _error(405, "only GET")
            )
        missing = _error(404, f'serviceaccounts "{name}" not found in namespace {namespace} of cluster {cluster_name}')
        if request.method == "DELETE":
            return _json(200, {"status": "Success"}) if cluster.delete(namespace, name) else missing
        if request.method == "GET":
            found = cluster.find(namespace, name)
            return _json(200, found.as_kubernetes()) if found else missing
        if request.method == "PATCH":
            body = _object(request)
            parts = [_strings(body.get(key, {})) if body is not None else None for key in ("annotations", "labels")]
            if parts[0] is None or parts[1] is None:
                return _error(400, "the body is {annotations: {KEY: VALUE or null}, labels: {…}}")
            if bad := [key for part in parts for key in part or () if not _is_name(key, KEY)]:
                return _error(
                    400,
                    f"{bad[0]!r} is no name of an annotation or label: write PREFIX/NAME, as eks.amazonaws.com/role-arn",
                )
            return _json(200, cluster.merge(namespace, name, annotations=parts[0], labels=parts[1]).as_kubernetes())
        return _error(405, "GET, PATCH or DELETE")


def _is_name(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _strings(value: object) -> dict[str, str | None] | None:
    if not isinstance(value, dict):
        return None
    found = cast("Mapping[object, object]", value)
    good = all(isinstance(k, str) and (v is None or isinstance(v, str)) for k, v in found.items())
    return cast("dict[str, str | None]", dict(found)) if good else None


def _object(request: Request) -> dict[str, Any] | None:
    if request.body.length > LARGEST_BODY:
        return None
    try:
        value = json.loads(request.body.read() or b"{}")
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _json(status: int, value: object) -> Response:
    return Response(
        status=status, headers=[("Content-Type", "application/json")], body=json.dumps(value, default=str).encode()
    )


def _error(status: int, message: str) -> Response:
    return _json(status, {"error": message})
