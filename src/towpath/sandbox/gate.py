"""The gate: who is it, what do they ask, may they, and only then the emulator.

The order is AWS's: an unknown or expired key is told before a wrong signature, a wrong signature before a missing
permission, a missing permission before a missing resource.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from towpath.sandbox import (
    client_ids,
    constraints,
    contexts,
    emulated,
    endpoints,
    iam_words,
    operations,
    own_user,
    principal_ids,
    resources,
    sigv4,
    unique_ids,
)
from towpath.sandbox.accounts import Accounts
from towpath.sandbox.admin import PREFIX, Admin
from towpath.sandbox.authenticate import Authenticator, Caller, anonymous
from towpath.sandbox.authorise import OWN, Authoriser, Target
from towpath.sandbox.backend import Backend
from towpath.sandbox.buckets import Buckets
from towpath.sandbox.creation import CreationRules
from towpath.sandbox.eks import Eks
from towpath.sandbox.errors import AwsError, render
from towpath.sandbox.faults import Faults, InjectedFault
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.operations import Operation
from towpath.sandbox.principals import ANONYMOUS, Keys, Principal
from towpath.sandbox.record import Needed, Record
from towpath.sandbox.s3.service import S3
from towpath.sandbox.s3_operations import Need
from towpath.sandbox.sts import UNSIGNED, Sts, user_sessions
from towpath.sandbox.wire import FormTooLarge, Request, Response

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

    def decision(self, code: str) -> str:
        if self.injected or self.denied:
            return "injected" if self.injected else "denied"
        # S3 looks for the object once the caller may have it: what is not there was allowed all the same.
        found = self.service == "s3" and self.needs and all(need.allowed for need in self.needs)
        return "allowed" if not code or found else "refused"


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
        buckets: Buckets,
        accounts: Accounts,
        region: str,
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
        self._region = region
        self._rules = CreationRules(state)
        self._authenticator = Authenticator(keys, state)
        self._s3 = S3(
            backend=backend,
            buckets=buckets,
            authenticator=self._authenticator,
            exists=lambda account, kind, name: _exists(accounts, state, account, kind, name),
            partition=state.partition,
        )

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
            response = self._read(request, seen)
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
            at=time.time(),
            who=seen.who,
            service=seen.service,
            action=seen.action,
            resource=seen.resource,
            decision=seen.decision(code),
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

    def _read(self, request: Request, seen: Seen) -> Response:
        try:
            return self._answer(request, seen)
        except FormTooLarge as error:
            code = "RequestEntityTooLarge" if error.status == 413 else "ValidationError"
            raise AwsError(code, str(error), error.status) from None

    def _answer(self, request: Request, seen: Seen) -> Response:
        try:
            scope = sigv4.parse(request)
        except AwsError:
            if not sigv4.meant_for_s3(request):
                seen.service, seen.protocol = "sts", "query"
            raise
        if scope is None:
            return self._unsigned(request, seen)
        seen.service = scope.service
        if scope.service != "s3":
            seen.protocol = operations.protocol(request, scope.service)
        caller = self._authenticate(request, scope)
        seen.who = caller.principal.arn
        if scope.service == "s3":
            return self._s3_call(request, caller, seen)
        operation = operations.identify(request, scope.service)
        seen.action = operation.action
        return self._operation(operation, request, caller.principal, scope.region, seen)

    def _unsigned(self, request: Request, seen: Seen) -> Response:
        """The exchanges that carry no signature; S3 answers AccessDenied, every other service MissingAuthenticationToken."""
        form = request.form if request.path == "/" and request.method in {"GET", "POST"} else {}
        if form.get("Action") in UNSIGNED:
            seen.service, seen.protocol, seen.action = "sts", "query", f"sts:{form['Action']}"
            seen.resource = form.get("RoleArn", "")[:2048]
            self._faults.strike(seen.action)
            way = contexts.way(request, endpoints.region(request.host) or "")
            response, seen.who, seen.why = self._sts.unsigned(form, way)
            return response
        if "Action" in form or "x-amz-target" in request.headers:
            seen.service, seen.protocol = ("sts", "query") if "Action" in form else ("", "json")
            seen.action = form.get("Action", request.headers.get("x-amz-target", ""))[:120]
            raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        return self._s3_call(request, anonymous(request), seen)

    def _authenticate(self, request: Request, scope: sigv4.Scope) -> Caller:
        caller = self._authenticator.of_request(request, scope)
        endpoints.check_region(request.host, scope.service, scope.region, presigned=scope.presigned)
        return caller

    def _s3_call(self, request: Request, caller: Caller, seen: Seen) -> Response:
        seen.service, seen.protocol = "s3", "rest-xml"
        first: list[Need] = []
        refused: list[AwsError] = []

        def starts(need: Need) -> None:
            first.append(need)
            seen.action, seen.resource = need.action, need.resource
            self._faults.strike(need.action)

        def allow(need: Need, target: Target, who: Caller) -> None:
            seen.who = who.principal.arn if who.principal is not ANONYMOUS else "anonymous"
            try:
                self._allow(need, who.principal, "s3", who.region or self._region, request, seen, target)
            except AwsError as error:
                refused.append(error)
                raise

        response = self._s3.answer(request, caller, hosts=self._hosts, region=self._region, allow=allow, starts=starts)
        if first:
            seen.action, seen.resource = first[0].action, first[0].resource
        if refused:  # DeleteObjects goes on without the keys it may not delete
            seen.why = f"{len(refused)} of its keys were refused, the first: {refused[0].why}"
        return response

    def _operation(
        self, operation: Operation, request: Request, principal: Principal, region: str, seen: Seen
    ) -> Response:
        account = principal.account
        operation = own_user.named(operation, principal)
        # What is no call at all is told before anything is looked up for it.
        if operation.service == "iam":
            constraints.shaped("iam", operation.name, operation.parameters)
        elif operation.service == "eks":
            constraints.check_json("eks", operation.name, operation.parameters)
        needed = resources.needs(operation, account=account, region=region, state=self._state)
        seen.resource = needed[0].resource
        self._faults.strike(operation.action)
        user_sessions.check_reach(principal, operation.service, operation.name)
        if operation.service == "sts":
            if operation.name == "AssumeRole":
                seen.needs += [Needed(action=need.action, resource=need.resource, context={}) for need in needed]
            response = self._sts.answer(operation, principal, contexts.way(request, region))
            seen.why = "verified"
            return response
        for need in needed:
            self._allow(need, principal, operation.service, region, request, seen)
        seen.action, seen.resource = needed[0].action, needed[0].resource
        emulated.check(operation)
        request = operations.plain(request, operation)
        if operation.service == "eks":
            with self._backend.together():
                return self._eks.answer(operation, request, account=account, region=region)
        if operation.service == "iam":
            return self._iam(operation, request, account)
        if self._backend.forgets(operation.service):
            seen.why += "; --state does not keep this service"
        return self._backend.call(request, service=operation.service, region=region, account=account)

    def _iam(self, operation: Operation, request: Request, account: str) -> Response:
        parameters = constraints.shaped("iam", operation.name, operation.parameters)
        if operation.name.startswith(READ_PREFIXES):
            # The emulator's markers are numbers.
            if not str(parameters.get("Marker", "0")).isdecimal():
                raise AwsError("ValidationError", "Invalid Marker.", 400)
            # The emulator looks for a key through all accounts.
            access_key = str(parameters.get("AccessKeyId", ""))
            if operation.name == "GetAccessKeyLastUsed" and self._keys.account_of(access_key) != account:
                raise AwsError("NoSuchEntity", f"The Access Key with id {access_key} cannot be found", 404)
            with self._state.reading(account):
                response = self._backend.call(request, service="iam", region=self._state.region, account=account)
            return _with_unique_ids(response)
        with self._backend.together():
            return self._iam_write(operation, request, account, parameters)

    def _iam_write(
        self, operation: Operation, request: Request, account: str, parameters: Mapping[str, Any]
    ) -> Response:
        """`parameters` as the service's model shapes them."""
        with self._state.writing(account):
            self._rules.check(operation.name, account, parameters)
            if operation.name in client_ids.OPERATIONS:
                return client_ids.answer(
                    self._backend, operation.name, parameters, account=account, region=self._state.region
                )
            gone = principal_ids.of_deleted(self._state, operation.name, account, parameters)
            response = self._backend.call(request, service="iam", region=self._state.region, account=account)
        if response.status < 300:
            if gone is not None:
                principal_ids.replace_everywhere(self._state, gone)
                self._s3.forget(gone)
            self._keys.follow(
                operation.name, operation.parameters, response.read(), account=account, partition=self._state.partition
            )
        return _with_unique_ids(response)

    def _allow(
        self,
        need: Need,
        principal: Principal,
        service: str,
        region: str,
        request: Request,
        seen: Seen,
        target: Target = OWN,
    ) -> None:
        seen.action, seen.resource = need.action, need.resource
        needed = Needed(action=need.action, resource=need.resource, context=need.context)
        try:
            seen.why = self._authoriser.allow(
                principal,
                need,
                contexts.way(request, region),
                service=service,
                target=target,
            )
        except AwsError:
            seen.needs.append(replace(needed, allowed=False))
            raise
        seen.needs.append(needed)


def _with_unique_ids(response: Response) -> Response:
    response.body = iam_words.in_answer(unique_ids.in_answer(response.read()))
    return response


def _exists(accounts: Accounts, state: IamState, account: str, kind: str, name: str) -> bool:
    """Whether a principal exists; of an account that was never used here nothing can be said, and it may."""
    if not accounts.known(account):
        return True
    return (state.role(account, name) if kind == "role" else state.user(account, name)) is not None
