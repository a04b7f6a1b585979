"""Whether a statement speaks of a request, element by element: what an explanation asks. `decide` takes the same tests, indexed."""

from __future__ import annotations

from towpath.iam.principals import Named
from towpath.iam.request import Caller, Request
from towpath.iam.statement import Statement


def matches(statement: Statement, request: Request, *, bounded: bool = False) -> bool:
    """Whether every element of the statement speaks of this request. `bounded`: the caller has a permissions boundary."""
    return (
        matches_action(statement, request)
        and statement.applies(request.resource, request.context)
        and how_named(statement, request.caller, bounded=bounded) is not Named.NOT
    )


def matches_action(statement: Statement, request: Request) -> bool:
    hit = any(pattern.match(request.action, request.context) for pattern in statement.action_patterns)
    return hit if statement.actions is not None else not hit


def how_named(statement: Statement, caller: Caller, *, bounded: bool) -> Named:
    """How Principal names the caller; DIRECTLY for a statement without one: whom the policy is attached to.

    A Deny with NotPrincipal denies every caller that has a permissions boundary, whomever it lists ("AWS JSON policy elements:
    NotPrincipal").
    """
    if statement.principals is not None:
        return statement.named.how(caller, deny=statement.effect == "Deny")
    if statement.not_principals is not None and not bounded:
        return Named.NOT if statement.named.excepts(caller) else Named.DIRECTLY
    return Named.DIRECTLY
