"""The gate: who is it, what do they ask, may they, and only then the emulator.

The order is AWS's: an unknown or expired key is told before a wrong signature, a wrong signature before a missing
permission, a missing permission before a missing resource.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from towpath.sandbox import callers, client_ids, endpoints, operations, resources, s3_operations, sigv4, unique_ids
from towpath.sandbox.admin import PREFIX, Admin
from towpath.sandbox.authorise import Authoriser
from towpath.sandbox.backend import Backend
from towpath.sandbox.creation import CreationRules
from towpath.sandbox.eks import Eks
from towpath.sandbox.errors import AwsError, render
from towpath.sandbox.faults import Faults, InjectedFault
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.operations import Operation
from towpath.sandbox.principals import ANONYMOUS, Key, Keys, Principal
from towpath.sandbox.record import Needed, Record
from towpath.sandbox.s3_operations import Need
from towpath.sandbox.sts import UNSIGNED, Sts, user_sessions
from towpath.sandbox.wire import Request, Response

# The names under which AWS itself is reached: a request may carry one when it is sent to this address on purpose.
AWS_SUFFIXES: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
READ_PREFIXES: Final = ("Get", "List", "Describe", "Simulate", "Generate")


@dataclass(kw_only=True)
class Seen:
    """What the record will say of a call, filled in as the gate finds it out."""

    service: str = ""
    protocol: str = "rest-xml"
    who: str = "anonymous"
    action: str = "unknown"
    resource: str = "*"
    why: str = ""
    denied: bool = False
    injected: bool = False
    needs: list[Needed] = field(default_factory=list[Needed])


class Gate:
    """One request in, one response out; never an exception, never a request to the emulator that was not allowed."""

    def __init__(
        self,
        *,
        backend: Backend,
        state: IamState,
        keys: Keys,
        sts: Sts,
        eks: Eks,
        admin: Admin,
        authoriser: Authoriser,
        record: Record,
        faults: Faults,
        hosts: Collection[str],
    ) -> None:
        self._backend = backend
        self._state = state
        self._keys = keys
        self._sts = sts
        self._eks = eks
        self._admin = admin
        self._authoriser = authoriser
        self._record = record
        self._faults = faults
        self._hosts = frozenset(host.lower() for host in hosts)
        self._rules = CreationRules(state)

    def handle(self, request: Request) -> Response:
        if not self._known_host(request.host):
            # A page in a browser that had its own name resolve to this address sends that name (DNS rebinding).
            return Response(
                status=421,
                headers=[("Content-Type", "text/plain")],
                body=b"this name is not one of the sandbox's: start it with --host NAME to allow it\n",
            )
        if request.key_path == PREFIX or request.key_path.startswith(PREFIX + "/"):
            return self._admin.answer(request)
        seen = Seen()
        code = ""
        try:
            response = self._answer(request, seen)
        except AwsError as error:
            response = render(
                error, service=seen.service or "s3", protocol=seen.protocol, head=request.method == "HEAD"
            )
            seen.why, code = error.why, error.code
            seen.injected = isinstance(error, InjectedFault)
            seen.denied = error.status == 403 and not seen.injected
        except Exception as error:
            internal = AwsError(
                "InternalFailure",
                "The request processing has failed because of an unknown error, exception or failure.",
                500,
            )
            response = render(
                internal, service=seen.service or "s3", protocol=seen.protocol, head=request.method == "HEAD"
            )
            seen.why, code = f"{type(error).__name__}: {error}", internal.code
        self._record.add(
            time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            who=seen.who,
            service=seen.service,
            action=seen.action,
            resource=seen.resource,
            decision="injected" if seen.injected else "denied" if seen.denied else "refused" if code else "allowed",
            why=seen.why,
            status=response.status,
            code=code,
            needs=tuple(seen.needs),
        )
        return response

    def _known_host(self, host: str) -> bool:
        return (
            host in self._hosts or host.endswith(AWS_SUFFIXES) or any(host.endswith("." + name) for name in self._hosts)
        )

    def _answer(self, request: Request, seen: Seen) -> Response:
        scope = sigv4.parse(request)
        if scope is None:
            return self._unsigned(request, seen)
        seen.service = scope.service
        if scope.service != "s3":
            found = operations.model(scope.service)
            seen.protocol = found.protocol if found else "query"
        principal = self._authenticate(request, scope)
        seen.who = principal.arn
        if scope.service == "s3":
            return self._s3(request, principal, scope.region, seen)
        operation = operations.identify(request, scope.service)
        seen.action = operation.action
        return self._operation(operation, request, principal, scope.region, seen)

    def _unsigned(self, request: Request, seen: Seen) -> Response:
        """The exchanges that carry no signature; S3 answers AccessDenied, every other service MissingAuthenticationToken."""
        form = request.form if request.path == "/" and request.method in {"GET", "POST"} else {}
        if form.get("Action") in UNSIGNED:
            seen.service, seen.protocol, seen.action = "sts", "query", f"sts:{form['Action']}"
            seen.resource = form.get("RoleArn", "")[:2048]
            self._faults.strike(seen.action)
            response, seen.who, seen.why = self._sts.unsigned(
                form, region=endpoints.region(request.host) or "", remote=request.remote, secure=request.secure
            )
            return response
        if "Action" in form or "x-amz-target" in request.headers:
            seen.service, seen.protocol = ("sts", "query") if "Action" in form else ("", "json")
            seen.action = form.get("Action", request.headers.get("x-amz-target", ""))[:120]
            raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        return self._s3(request, ANONYMOUS, self._state.region, seen)

    def _authenticate(self, request: Request, scope: sigv4.Scope) -> Principal:
        s3 = scope.service == "s3"
        key = self._keys.find(scope.access_key)
        if key is None or not _token_fits(key, scope):
            if key is None and s3:
                raise AwsError(
                    "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403
                )
            if s3:
                raise AwsError(
                    "InvalidToken",
                    "The provided token is malformed or otherwise invalid.",
                    400,
                    why="session token missing or not this key's",
                )
            raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        now = datetime.now(UTC)
        sigv4.verify(request, scope, key.secret, now=now)
        if key.expires_at is not None and now >= key.expires_at:
            if s3:
                raise AwsError("ExpiredToken", "The provided token has expired.", 400)
            raise AwsError("ExpiredToken", "The security token included in the request is expired", 403)
        endpoints.check_region(request.host, scope.service, scope.region)
        return callers.current(key.principal, self._state, s3=s3)

    def _s3(self, request: Request, principal: Principal, region: str, seen: Seen) -> Response:
        seen.service, seen.protocol = "s3", "rest-xml"
        bucket, key, path = s3_operations.split(request, self._hosts)
        needs = s3_operations.needs(request, bucket, key, partition=self._state.partition)
        seen.action, seen.resource = needs[0].action, needs[0].resource
        self._faults.strike(seen.action)
        for need in needs:
            self._allow(need, principal, "s3", region, request, seen)
        seen.action, seen.resource = needs[0].action, needs[0].resource
        # The emulator sees path style only, so that it and the gate cannot read two buckets out of one request.
        inner = replace(request, path=path, headers={**request.headers, "host": "localhost"})
        return self._backend.call(inner, service="s3", region=region, account=principal.account)

    def _operation(
        self, operation: Operation, request: Request, principal: Principal, region: str, seen: Seen
    ) -> Response:
        account = principal.account
        seen.resource = resources.resource(operation, account=account, region=region, state=self._state)
        user_sessions.check_reach(principal, operation.service, operation.name)
        self._faults.strike(operation.action)
        if operation.service == "sts":
            if operation.name == "AssumeRole":
                seen.needs.append(Needed(action=operation.action, resource=seen.resource, context={}))
            response = self._sts.answer(
                operation, principal, region=region, remote=request.remote, secure=request.secure
            )
            seen.why = "verified"
            return response
        need = Need(action=operation.action, resource=seen.resource, context=resources.context(operation))
        self._allow(need, principal, operation.service, region, request, seen)
        if operation.service == "eks":
            return self._eks.answer(operation, request, account=account, region=region)
        if operation.service == "iam":
            return self._iam(operation, request, account)
        return self._backend.call(request, service=operation.service, region=region, account=account)

    def _iam(self, operation: Operation, request: Request, account: str) -> Response:
        if operation.name.startswith(READ_PREFIXES):
            return _with_unique_ids(
                self._backend.call(request, service="iam", region=self._state.region, account=account)
            )
        with self._state.writing(account):
            self._rules.check(operation.name, account, operation.parameters)
            if operation.name in client_ids.OPERATIONS:
                return client_ids.answer(
                    self._backend, operation.name, operation.parameters, account=account, region=self._state.region
                )
            response = self._backend.call(request, service="iam", region=self._state.region, account=account)
        if response.status < 300:
            self._keys.follow(
                operation.name, operation.parameters, response.read(), account=account, partition=self._state.partition
            )
        return _with_unique_ids(response)

    def _allow(self, need: Need, principal: Principal, service: str, region: str, request: Request, seen: Seen) -> None:
        seen.action, seen.resource = need.action, need.resource
        seen.needs.append(Needed(action=need.action, resource=need.resource, context=need.context))
        seen.why = self._authoriser.allow(
            principal, need, service=service, region=region, remote=request.remote, secure=False
        )


def _with_unique_ids(response: Response) -> Response:
    response.body = unique_ids.in_answer(response.read())
    return response


def _token_fits(key: Key, scope: sigv4.Scope) -> bool:
    return key.session_token == scope.session_token
