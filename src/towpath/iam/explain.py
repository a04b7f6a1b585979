"""The words of a decision: for each statement what matched and what did not, and the shortest reason for the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from towpath.iam import evaluate
from towpath.iam.principals import Named
from towpath.iam.request import Request
from towpath.iam.statement import PolicyKind, Statement

if TYPE_CHECKING:
    from towpath.iam.decide import Decision, NamedPolicy

_WORDS: Final = {
    PolicyKind.BOUNDARY: "the permissions boundary",
    PolicyKind.SESSION: "the session policy",
    PolicyKind.RESOURCE: "the resource policy",
    PolicyKind.SCP: "a level of service control policies",
    PolicyKind.RCP: "a level of resource control policies",
    PolicyKind.ENDPOINT: "the endpoint policy",
}


def elements(statement: Statement, request: Request, *, bounded: bool = False) -> list[tuple[str, bool, str]]:
    """(element, matched, why) in the order in which a person reads a statement."""
    out: list[tuple[str, bool, str]] = []
    if statement.principals is not None or statement.not_principals is not None:
        name = "Principal" if statement.principals is not None else "NotPrincipal"
        values = ", ".join(
            f"{kind} {value}" if kind != "*" else "*"
            for kind, value in statement.principals or statement.not_principals or ()
        )
        named = evaluate.how_named(statement, request.caller, bounded=bounded)
        text = f"the caller is {_caller(request)}, policy {'names' if name == 'Principal' else 'excludes'} {values}"
        if name == "NotPrincipal" and named is not Named.NOT and statement.named.how(request.caller, deny=True):
            text += (
                " (a caller with a permissions boundary is denied whatever NotPrincipal says)"
                if bounded
                else " (account, role and session, or account and user, all have to be listed)"
            )
        out.append((name, named is not Named.NOT, text))
    name = "Action" if statement.actions is not None else "NotAction"
    out.append(
        (
            name,
            evaluate.matches_action(statement, request),
            f"the action is {request.action}, policy {'has' if name == 'Action' else 'excludes'} {_list(statement.actions or statement.not_actions)}",
        )
    )
    if statement.resources is not None or statement.not_resources is not None:
        name = "Resource" if statement.resources is not None else "NotResource"
        out.append(
            (
                name,
                statement.speaks_of_resource(request.resource, request.context),
                f"the resource is {request.resource}, policy {'has' if name == 'Resource' else 'excludes'} {_list(statement.resources or statement.not_resources)}",
            )
        )
    for condition in statement.conditions:
        result = condition.evaluate(request.context)
        out.append((f"Condition {condition.operator} {condition.key}", result.matched, result.why))
    return out


def why(statement: Statement, request: Request, *, bounded: bool = False) -> str:
    failed = [text for _, ok, text in elements(statement, request, bounded=bounded) if not ok]
    return "; ".join(failed) if failed else "every element matched"


def reason(decision: Decision) -> str:
    request = decision.request
    target = f"{request.action} on {request.resource}"
    if decision.statement is not None:
        policy, statement = decision.statement
        verb = "denies" if statement.effect == "Deny" else "allows"
        prefix = "denied explicitly: " if statement.effect == "Deny" else ""
        return f"{prefix}{_subject(statement, policy.name)} {verb} {target}"
    if decision.allowed:
        return f"the account's root may do {target}"
    nearest = _nearest(decision)
    kind = decision.decided_by
    if kind is PolicyKind.TRUST:
        if decision.policies.resource is None or nearest is None:
            return f"denied: no statement of the trust policy allows {request.action}"
        return f"denied: no statement of the trust policy allows {request.action} to {_caller(request)}; the nearest, {nearest[0]}: {nearest[1]}"
    group = _WORDS.get(kind)
    start = f"denied: {group} does not allow {target}" if group else f"denied: no statement allows {target}"
    if kind is PolicyKind.IDENTITY:
        start += _not_enough(decision)
    return f"{start}; the nearest, {nearest[0]}, {nearest[1]}" if nearest else start


def _not_enough(decision: Decision) -> str:
    """Why what the resource's policy grants does not suffice, where it grants something."""
    request, policy = decision.request, decision.policies.resource
    if policy is None:
        return ""
    named = max(
        (
            evaluate.how_named(statement, request.caller, bounded=False)
            for statement in policy.document.statements
            if statement.effect == "Allow" and evaluate.matches(statement, request)
        ),
        default=Named.NOT,
    )
    word = "trust" if policy.document.kind is PolicyKind.TRUST else "resource"
    if named is Named.ACCOUNT:
        return f" (the {word} policy names only the account: the caller's own policies have to allow it too)"
    return " (across accounts the caller's own policies have to allow it too)" if named is not Named.NOT else ""


def _nearest(decision: Decision) -> tuple[str, str] | None:
    """The Allow statement with the fewest misses, and what it says instead."""
    request, policies = decision.request, decision.policies
    candidates = policies.of(decision.decided_by)
    if decision.decided_by is PolicyKind.IDENTITY and policies.resource is not None:
        # In one account the resource's policy could have allowed it as well.
        candidates += (policies.resource,)
    elif decision.decided_by in {PolicyKind.SCP, PolicyKind.RCP}:
        candidates = _silent_level(decision)
    best: tuple[tuple[int, int], NamedPolicy, Statement] | None = None
    for policy in candidates:
        for statement in policy.document.statements:
            missed = [place for place, ok in enumerate(_marks(statement, request)) if not ok]
            if statement.effect != "Allow" or not missed:
                continue  # one that misses nothing allows; what is missing is another policy's word
            # Of two with as many misses the one that fails late is nearer: an action of the wrong service is no near miss.
            rank = (len(missed), -missed[-1])
            if best is None or rank < best[0]:
                best = (rank, policy, statement)
    if best is None:
        return None
    _, policy, statement = best
    missing = [(name, text) for name, ok, text in elements(statement, request) if not ok]
    return _subject(statement, policy.name), _instead(statement, missing, decision)


def _marks(statement: Statement, request: Request) -> list[bool]:
    """Whether each element matched, in the order of `elements`, without words for it."""
    named = evaluate.how_named(statement, request.caller, bounded=False) is not Named.NOT
    return [
        *([named] if statement.principals is not None or statement.not_principals is not None else ()),
        evaluate.matches_action(statement, request),
        *(
            [statement.speaks_of_resource(request.resource, request.context)]
            if statement.resources is not None or statement.not_resources is not None
            else ()
        ),
        *(condition.holds(request.context) for condition in statement.conditions),
    ]


def _silent_level(decision: Decision) -> tuple[NamedPolicy, ...]:
    """The first level of SCPs or RCPs that does not allow the request."""
    policies = decision.policies
    levels = policies.scps if decision.decided_by is PolicyKind.SCP else policies.rcps
    for level in levels:
        statements = (s for policy in level for s in policy.document.statements if s.effect == "Allow")
        if not any(evaluate.matches(statement, decision.request) for statement in statements):
            return level
    return ()


def _instead(statement: Statement, missed: list[tuple[str, str]], decision: Decision) -> str:
    if decision.decided_by is PolicyKind.TRUST or len(missed) != 1:
        return "; ".join(text for _, text in missed)
    name = missed[0][0]
    if name == "Action":
        return f"allows {_list(statement.actions)} on it"
    if name == "Resource":
        return f"allows it on {_list(statement.resources)}"
    return missed[0][1]


def _subject(statement: Statement, policy: str) -> str:
    return (
        f"{statement.label} of {policy}"
        if policy.startswith(("trust policy", "inline policy", "session policy", "policy "))
        else f"{statement.label} of policy {policy}"
    )


def _caller(request: Request) -> str:
    caller = request.caller
    return caller.federated or caller.service or caller.arn or caller.account or "anonymous"


def _list(values: tuple[str, ...] | None, most: int = 4) -> str:
    found = values or ()
    shown = ", ".join(found[:most])
    return shown if len(found) <= most else f"{shown} and {len(found) - most} more"
