"""Whether a statement speaks of a request, element by element."""

from __future__ import annotations

from towpath.iam.policy import Statement
from towpath.iam.request import Caller, Request


def matches(statement: Statement, request: Request) -> bool:
    """Whether every element of the statement speaks of this request."""
    return (
        matches_action(statement, request)
        and matches_resource(statement, request)
        and matches_principal(statement, request.caller)
        and all(condition.holds(request.context) for condition in statement.conditions)
    )


def matches_action(statement: Statement, request: Request) -> bool:
    hit = any(pattern.match(request.action, request.context) for pattern in statement.action_patterns)
    return hit if statement.actions is not None else not hit


def matches_resource(statement: Statement, request: Request) -> bool:
    if statement.resources is None and statement.not_resources is None:
        return True  # a trust policy: the role itself
    hit = any(pattern.match(request.resource, request.context) for pattern in statement.resource_patterns)
    return hit if statement.resources is not None else not hit


def matches_principal(statement: Statement, caller: Caller) -> bool:
    if statement.principals is not None:
        return any(_is(kind, name, caller) for kind, name in statement.principals)
    if statement.not_principals is not None:
        return not any(_is(kind, name, caller) for kind, name in statement.not_principals)
    return True  # an identity policy: whom it is attached to


def _is(kind: str, name: str, caller: Caller) -> bool:
    if kind == "*":
        return True
    if kind == "Federated":
        return caller.federated == name
    if kind == "Service":
        return caller.service == name
    if kind != "AWS" or caller.federated is not None or caller.service is not None:
        return False
    if name == "*" or name in {caller.arn, caller.role_arn}:
        return True
    # An account, as its digits or its root's ARN, stands for everyone in it whom their own policies allow.
    account = name if name.isdigit() else name.split(":")[4] if name.endswith(":root") else None
    return account is not None and account == caller.account
