"""Errors on request: `--fail s3:PutObject:SlowDown:0.1`, so that a client's retries can be seen at work.

A fault strikes after the caller is known and before their permissions are asked about, as a service's own throttling does. It is
deterministic: `n/m` fails the first n of every m calls it speaks of; a fraction draws from a generator with a seed.
"""

from __future__ import annotations

import difflib
import random
import re
import threading
from dataclasses import dataclass
from typing import Final

from towpath.errors import UsageError
from towpath.iam import s3_actions
from towpath.sandbox.errors import AwsError

# Code -> HTTP status and message. Sources: "Common Errors" of the API references; "Error responses" (S3 API reference); the errors of
# AssumeRoleWithWebIdentity (STS API reference).
_COMMON: Final = {
    "AccessDenied": (403, "Access Denied"),
    "InternalFailure": (
        500,
        "The request processing has failed because of an unknown error, exception or failure.",
    ),
    "RequestLimitExceeded": (503, "Request limit exceeded."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
    "Throttling": (400, "Rate exceeded"),
    "ThrottlingException": (400, "Rate exceeded"),
    "TooManyRequestsException": (429, "Too Many Requests"),
}
CODES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "s3": {
        "AccessDenied": (403, "Access Denied"),
        "ExpiredToken": (400, "The provided token has expired."),
        "InternalError": (500, "We encountered an internal error. Please try again."),
        "OperationAborted": (
            409,
            "A conflicting conditional operation is currently in progress against this resource. Please try again.",
        ),
        "RequestTimeout": (
            400,
            "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.",
        ),
        "ServiceUnavailable": (503, "Service is unable to handle request."),
        "SlowDown": (503, "Please reduce your request rate."),
    },
    "sts": {
        **_COMMON,
        "ExpiredTokenException": (400, "Token expired"),
        "IDPCommunicationError": (
            400,
            "The request could not be fulfilled because the identity provider (IDP) that was asked to verify the incoming identity token could not be reached.",
        ),
        "IDPRejectedClaim": (403, "The identity provider (IdP) reported that authentication failed."),
        "RegionDisabledException": (403, "STS is not activated in this region for account"),
    },
}


class InjectedFault(AwsError):
    """An error that nothing but a `--fail` asked for."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One rule. `action` is IAM's name without the service, or "*" for all of that service."""

    service: str
    action: str
    code: str
    rate: str  # as it was written
    first: int | None = None  # of every `every` calls
    every: int = 1
    chance: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """`service:action:code:rate`. Raises UsageError, naming the part that is wrong."""
        parts = text.split(":")
        if len(parts) != 4 or not all(parts):
            raise _refusal(f"{text!r} is not service:action:code:rate")
        service, action, code, rate = parts
        service = service.lower()
        if not re.fullmatch(r"[a-z0-9-]+", service) or not re.fullmatch(r"\*|[A-Za-z0-9]+", action):
            raise _refusal(f"{service}:{action} is not an action, nor is it {service}:*")
        if service == "s3" and action != "*":
            _check_s3_action(action)
        codes = CODES.get(service, _COMMON)
        if code not in codes:
            near = difflib.get_close_matches(code, codes, n=1)
            hint = f"did you mean {near[0]}? They" if near else "they"
            raise _refusal(f"{code!r} is no error of {service} known here; {hint} are {', '.join(codes)}")
        share = re.fullmatch(r"(\d{1,6})/(\d{1,6})", rate)
        if share and 0 < int(share[1]) <= int(share[2]):
            return cls(service=service, action=action, code=code, rate=rate, first=int(share[1]), every=int(share[2]))
        if not re.fullmatch(r"[01]|0?\.\d{1,9}|1\.0+", rate) or float(rate) == 0:
            raise _refusal(
                f"{rate!r} is no rate: it is a share of the calls as 0.1, all of them as 1, or the first of every few as 1/3"
            )
        return cls(service=service, action=action, code=code, rate=rate, chance=float(rate))

    def __str__(self) -> str:
        return f"{self.service}:{self.action}:{self.code}:{self.rate}"

    def speaks_of(self, service: str, name: str) -> bool:
        return service == self.service and (self.action == "*" or self.action.lower() == name.lower())


def _refusal(what: str) -> UsageError:
    return UsageError(
        what,
        where="--fail",
        todo="write it as s3:PutObject:SlowDown:0.1, or sts:AssumeRoleWithWebIdentity:Throttling:1/3",
    )


def _check_s3_action(action: str) -> None:
    if action.lower() in {name.lower() for name in s3_actions.ALL}:
        return
    if action in s3_actions.OPERATIONS:
        raise _refusal(f"{action} is an operation; the action that permits it is {s3_actions.OPERATIONS[action]}")
    near = difflib.get_close_matches(action, s3_actions.ALL, n=1)
    raise _refusal(f"s3 has no action {action}" + (f"; did you mean {near[0]}?" if near else ""))


class Faults:
    """The rules in force, in order; the first that strikes answers."""

    def __init__(self, faults: tuple[Fault, ...] = (), *, seed: int = 0) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._numbers = 0
        self._rules: list[tuple[int, Fault, random.Random]] = []
        self._seen: dict[int, int] = {}
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._numbers += 1
            # A generator for each rule: another rule's calls do not change what this one draws.
            self._rules.append((self._numbers, fault, random.Random(f"{self._seed}:{self._numbers}:{fault}")))  # noqa: S311 - no secret
            self._seen[self._numbers] = 0

    def clear(self) -> int:
        """How many rules there were."""
        with self._lock:
            gone = len(self._rules)
            self._rules.clear()
            self._seen.clear()
        return gone

    def as_json(self) -> list[dict[str, object]]:
        with self._lock:
            return [{"fail": str(fault), "calls": self._seen[number]} for number, fault, _ in self._rules]

    def strike(self, action: str) -> None:
        """Raises InjectedFault when a rule says that this call of `service:Action` fails."""
        if not self._rules:
            return
        service, _, name = action.partition(":")
        with self._lock:
            for number, fault, generator in self._rules:
                if not fault.speaks_of(service, name):
                    continue
                place = self._seen[number]
                self._seen[number] += 1
                if place % fault.every < fault.first if fault.first is not None else generator.random() < fault.chance:
                    status, message = CODES.get(fault.service, _COMMON)[fault.code]
                    raise InjectedFault(fault.code, message, status, why=f"injected by {fault}")
