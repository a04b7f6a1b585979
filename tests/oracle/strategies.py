"""Worlds, drawn: seeded, and biased so that statements often nearly match.

First a request is drawn, then policies whose every element is likely to speak of it, then more requests that differ from the first
in one thing each. Numbers are chances in a hundred. Everything is made of one kind of draw, a whole number, so that the same worlds
come from a plain generator (`drawn`: even, quick, for many) and from hypothesis (`worlds`: it looks for corners, and shrinks
towards the plain matching statement).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

from . import catalogue
from .world import Asked, Document, World

T = TypeVar("T")
Draw = Callable[[int], int]  # 0 to that number, both in it
UP_TO = tuple(st.integers(0, most) for most in range(128))  # made once: a strategy costs more than a draw
REQUESTS_OF_A_WORLD = 8
KEYS = (*catalogue.SINGLE, *catalogue.SEVERAL)


def chance(draw: Draw, percent: int) -> bool:
    return draw(99) < percent


def one(draw: Draw, found: Sequence[T]) -> T:
    return found[draw(len(found) - 1)]


# --- requests ----------------------------------------------------------------------------------------------------------


def _value(draw: Draw, key: str) -> str | list[str]:
    if key in catalogue.SINGLE:
        return one(draw, catalogue.SINGLE[key])
    if key in catalogue.CLAIMS:
        return one(draw, catalogue.CLAIMS[key])
    pool = catalogue.SEVERAL[key]
    return [one(draw, pool) for _ in range(1 + draw(2))]


def _context(draw: Draw, claims: bool) -> dict[str, str | list[str]]:
    keys = [key for key in KEYS if chance(draw, 60)]
    if claims:
        keys += [key for key in catalogue.CLAIMS if chance(draw, 90)]
    return {(key.upper() if chance(draw, 3) else key): _value(draw, key) for key in keys}


def _first(draw: Draw, *, trust: bool) -> Asked:
    action, resource = one(draw, catalogue.EXCHANGES if trust else catalogue.TARGETS)
    whos = (*catalogue.FEDERATED, *catalogue.CALLERS) if trust else catalogue.CALLERS
    if action in {"sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML"}:
        whos = (catalogue.FEDERATED[0 if "Web" in action else 1],)
    who = one(draw, whos)
    account = catalogue.AWAY if chance(draw, 25) and not trust else catalogue.HOME
    return Asked(
        action=action,
        resource=resource,
        account=account,
        principal=who.principal,
        role_arn=who.role_arn,
        context=_context(draw, trust),
    )


def _another(draw: Draw, asked: Asked, *, trust: bool) -> Asked:
    """The same request but for one thing."""
    change = draw(5)
    if change <= 2:  # a key dropped or given another value
        context = dict(asked.context)
        key = one(draw, (*KEYS, *catalogue.CLAIMS) if trust else KEYS)
        if key in context and chance(draw, 50):
            del context[key]
        else:
            context[key] = _value(draw, key)
        return replace(asked, context=context)
    if change == 3:
        service = asked.action.partition(":")[0].lower()
        return replace(asked, action=one(draw, catalogue.ACTIONS.get(service, (asked.action, service + ":Other"))))
    if change == 4 and not trust:
        return replace(asked, resource=_near(draw, asked.resource))
    who = one(draw, _alike(asked.principal, trust=trust))
    return replace(asked, principal=who.principal, role_arn=who.role_arn)


def lonely(principal: str | None) -> bool:
    """A caller to whom no identity policy, boundary or SCP can be attached."""
    return principal is None or not principal.startswith("arn:") or "-provider/" in principal


def _alike(principal: str | None, *, trust: bool) -> tuple[catalogue.Who, ...]:
    whos = (*catalogue.FEDERATED, *catalogue.CALLERS) if trust else catalogue.CALLERS
    return tuple(who for who in whos if lonely(who.principal) == lonely(principal))


def _near(draw: Draw, resource: str) -> str:
    if resource == "*":
        return "*"
    parts = resource.split(":", 5)
    change = draw(4) if parts[2] != "kms" else 4  # what is no key of KMS has no key policy
    if change == 0:
        return resource + "x"
    if change == 1:
        return resource[:-1]
    if change == 2:
        return ":".join([*parts[:5], parts[5].swapcase()])
    if change == 3:
        return ":".join([*parts[:5], "other"])
    return ":".join([*parts[:3], "eu-west-9" if parts[3] else "", *parts[4:]])


# --- elements ----------------------------------------------------------------------------------------------------------


def _action(draw: Draw, asked: Asked, kind: str, likely: int) -> str:
    service, _, name = asked.action.partition(":")
    if not chance(draw, likely):
        return one(draw, catalogue.EXCHANGES if kind == "trust" else catalogue.TARGETS)[0]
    style = draw(7)
    cut = draw(len(name)) if 3 <= style <= 6 else 0
    return {
        0: asked.action,
        1: f"{service}:*" if kind == "rcp" else "*",
        2: f"{service}:*",
        3: f"{service}:{name[:cut]}*",
        4: f"{service}:*{name[cut:]}",
        5: f"{service}:{name[: max(cut - 1, 0)]}?{name[max(cut, 1) :]}",
        6: f"{service}:{name[:cut]}*{name[cut:]}",
        7: asked.action.swapcase(),
    }[style]


def _variables(draw: Draw, text: str, asked: Asked) -> str:
    """A part of the text said by a variable that has that very value in the request, or by one that has not."""
    for key, value in asked.context.items():
        if isinstance(value, str) and len(value) > 2 and value in text and chance(draw, 70):
            name = one(draw, (key, key.upper(), f"{key}, 'zzz'"))
            return text.replace(value, "${" + name + "}", 1)
    if chance(draw, 50):
        return text.replace(
            "ann", one(draw, ("${aws:PrincipalTag/Missing, 'ann'}", "${aws:username}", "${aws:Nobody}"))
        )
    return text + one(draw, ("${aws:username}", "${aws:TagKeys}", "${*}", "${", "${aws:PrincipalTag/Team}*"))


def _resource(draw: Draw, asked: Asked, kind: str, likely: int) -> str:
    text = asked.resource
    if text == "*" or not chance(draw, likely):
        return "*" if chance(draw, likely) else one(draw, catalogue.TARGETS)[1]
    parts = text.split(":", 5)
    name = parts[5]
    style = draw(14)
    at = draw(len(name)) if style in {3, 4, 5, 9} else 0
    if style == 0:
        return text.replace("${", "${$}{") if chance(draw, 50) else text
    if style == 1:
        return "*"
    if style == 2:
        return ":".join([*parts[:5], name.rpartition("/")[0] + "/*" if "/" in name else "*"])
    if style == 3:
        return ":".join([*parts[:5], name[:at] + "*"])
    if style == 4:
        return ":".join([*parts[:5], name[:at] + "*" + name[min(at + 2, len(name)) :]])
    if style == 5:
        return ":".join([*parts[:5], name[: max(at - 1, 0)] + "?" + name[max(at, 1) :]])
    if style == 6:  # a star in place of the partition, service, region or account
        place = 1 + draw(3)
        return ":".join("*" if index == place else part for index, part in enumerate(parts))
    if style == 7:
        return ":".join([*parts[:3], "*", "*", name])
    if style == 8:
        return ":".join([*parts[:5], _variables(draw, name, asked)])
    if style == 9:
        escaped = {"*": "${*}", "?": "${?}", "$": "${$}"}.get(name[at : at + 1], "")
        return ":".join([*parts[:5], name[:at] + (escaped + name[at + 1 :] if escaped else name[at:])])
    if style == 10:
        return ":".join([*parts[:5], "*" + name[len(name) // 2 :]])
    if style == 11:  # the partition, the service or the region in other letters
        place = 1 + draw(2)
        return ":".join(part.upper() if index == place else part for index, part in enumerate(parts))
    if style == 12 and kind not in {"session", "rcp"}:  # fewer than six fields, the last ending with a star
        return ":".join(parts[: 2 + draw(2)]) + ":*" if draw(1) else ":".join(parts[: 3 + draw(1)]) + "*"
    if style == 13:  # a star inside one of the first fields
        place = 2 + draw(2)
        return ":".join(part[: len(part) // 2] + "*" if index == place else part for index, part in enumerate(parts))
    return ":".join([*parts[:5], name.swapcase()])


def _several(draw: Draw, make: Callable[[], Any]) -> Any:
    """As policies are written: one value, or a list of one to three."""
    return make() if chance(draw, 60) else [make() for _ in range(1 + draw(2))]


def _principals(draw: Draw, asked: Asked) -> Any:
    def pick() -> tuple[str, str]:
        if asked.principal is None or not chance(draw, 80):
            return one(draw, catalogue.PRINCIPALS)
        if "-provider/" in asked.principal:
            return "Federated", asked.principal
        if not asked.principal.startswith("arn:"):
            return "Service", asked.principal
        return "AWS", one(draw, (asked.principal, asked.role_arn or asked.principal, catalogue.HOME))

    found: dict[str, Any] = {}
    for _ in range(1 if chance(draw, 75) else 2 + draw(1)):
        kind, name = pick()
        if kind == "*":
            return "*"
        found.setdefault(kind, []).append(name)
    return {kind: names[0] if len(names) == 1 else names for kind, names in found.items()}


# --- conditions --------------------------------------------------------------------------------------------------------


def condition(draw: Draw, asked: Asked, *, trust: bool) -> dict[str, Any]:
    """{operator: {key: values}}, every operator with and without IfExists and a set operator."""
    kind, name = one(draw, catalogue.OPERATORS)
    keys = catalogue.KEYS_BY_TYPE[kind] if chance(draw, 93) else KEYS
    present = [key for key in keys if key in asked.context]
    key = one(draw, present) if present and chance(draw, 75) else one(draw, keys)
    if trust and kind == "string" and chance(draw, 70):
        key = one(draw, tuple(catalogue.CLAIMS))
    value = asked.context.get(key)
    fits = kind == "string" or key in catalogue.KEYS_BY_TYPE[kind]
    values = [_wanted(draw, kind, name, value, fits=fits) for _ in range(1 if chance(draw, 65) else 1 + draw(2))]
    operator = name
    several = isinstance(value, list)
    if kind != "null" and chance(draw, 25):
        operator += "IfExists"
    if chance(draw, 85 if several else 20) and (kind != "null" or chance(draw, 20)):
        operator = one(draw, ("ForAnyValue:", "ForAllValues:")) + operator
    if chance(draw, 4):
        operator = operator.lower()
    if chance(draw, 5):
        key = key.swapcase()
    return {operator: {key: values[0] if len(values) == 1 else values}}


def _wanted(draw: Draw, kind: str, name: str, got: str | list[str] | None, *, fits: bool) -> Any:
    """A value for the policy, often one that the request's value satisfies."""
    text = got[0] if isinstance(got, list) else got
    if not text or not fits or kind == "null" or not chance(draw, 80) or "Not" in name:
        return one(draw, catalogue.VALUES[kind])
    if kind == "string":
        if "Ignore" in name and chance(draw, 50):
            return text.swapcase()
        if "Like" in name:
            at = draw(len(text))
            return one(
                draw, (text[:at] + "*", "*" + text[at:], text[:at] + "?" + text[at + 1 :], text[:at] + "*" + text[at:])
            )
    if kind == "arn" and text.count(":") >= 5:
        parts = text.split(":", 5)
        place = 1 + draw(4)
        return ":".join("*" if index == place else part for index, part in enumerate(parts))
    if kind in {"number", "date"} and ("Than" in name or text not in catalogue.VALUES[kind]):
        return one(draw, catalogue.VALUES[kind])
    if kind == "address":
        return one(draw, (text, f"{text}/{64 if ':' in text else 24}", f"{text}/{128 if ':' in text else 32}"))
    if kind == "arn":
        return one(draw, catalogue.VALUES[kind])
    return text


# --- policies ----------------------------------------------------------------------------------------------------------


def statement(draw: Draw, asked: Asked, kind: str, *, effect: str) -> dict[str, Any]:
    trust = kind == "trust"
    likely = 96 if effect == "Allow" else 40  # each element's chance to speak of the request
    rarely = 12 if effect == "Allow" else 3  # NotAction and NotResource speak of nearly everything
    out: dict[str, Any] = {"Effect": effect}
    if kind in {"resource", "trust", "endpoint"}:
        # NotPrincipal goes with Deny only, and not in a trust policy.
        element = "NotPrincipal" if effect == "Deny" and chance(draw, 60) and kind != "trust" else "Principal"
        out[element] = "*" if kind == "endpoint" and chance(draw, 80) else _principals(draw, asked)
    elif kind == "rcp":
        out["Principal"] = "*"
    negated = chance(draw, rarely) and kind not in {"trust", "rcp"}
    out["NotAction" if negated else "Action"] = (
        one(draw, ("iam:*", "iam:Get*", "sqs:*", "s3:*"))
        if negated
        else _several(draw, lambda: _action(draw, asked, kind, likely))
    )
    if not trust:
        negated = chance(draw, rarely)
        out["NotResource" if negated else "Resource"] = (
            one(draw, ("arn:aws:s3:::other/*", "arn:aws:s3:::lake/ann/*", "arn:aws:iam::*:*", "arn:aws:s3:::*"))
            if negated
            else _several(draw, lambda: _resource(draw, asked, kind, likely))
        )
    wanted = draw(9)
    for _ in range(0 if wanted <= 5 else 1 if wanted <= 8 else 2):
        for operator, keys in condition(draw, asked, trust=trust).items():
            out.setdefault("Condition", {}).setdefault(operator, {}).update(keys)
    return out


EVERYTHING: dict[str, Any] = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def document(draw: Draw, asked: Asked, kind: str) -> Document:
    statements: list[dict[str, Any]] = []
    if kind in {"scp", "boundary", "session", "endpoint"} and chance(draw, 55):
        statements.append({**EVERYTHING, **({"Principal": "*"} if kind == "endpoint" else {})})
    if kind != "rcp" and (not statements or chance(draw, 40)):
        statements += [
            statement(draw, asked, kind, effect="Allow") for _ in range(1 if chance(draw, 65) else 1 + draw(2))
        ]
    if kind == "rcp" or chance(draw, 14):
        statements.append(statement(draw, asked, kind, effect="Deny"))
    version = draw(99) if kind not in {"scp", "rcp"} else 0
    out: dict[str, Any] = {} if version >= 97 else {"Version": "2008-10-17" if version >= 88 else "2012-10-17"}
    out["Statement"] = statements[0] if len(statements) == 1 and chance(draw, 30) else statements
    return out


FULL_RCP: Document = {"Version": "2012-10-17", "Statement": {**EVERYTHING, "Principal": "*"}}


def world(draw: Draw) -> World:
    """A request, its policies, and seven requests like it."""
    trust = chance(draw, 18)
    asked = _first(draw, trust=trust)
    many = REQUESTS_OF_A_WORLD - 1
    requests = (asked, *(_another(draw, asked, trust=trust) for _ in range(many)))

    def documents(kind: str, most: int) -> tuple[Document, ...]:
        return tuple(document(draw, asked, kind) for _ in range(1 if chance(draw, 70) else draw(most)))

    def levels(kind: str) -> tuple[tuple[Document, ...], ...]:
        if not chance(draw, 12):
            return ()
        # AWS attaches RCPFullAWSAccess everywhere and nobody can take it away; the other RCPs deny.
        always = (FULL_RCP,) if kind == "rcp" else ()
        return tuple((*always, *documents(kind, 2)) for _ in range(1 + draw(2)))

    alone = lonely(asked.principal)
    if trust:
        scps = () if alone else levels("scp")
        identity = () if alone or chance(draw, 50) else documents("identity", 2)
        resource = document(draw, asked, "trust")
        return World(trust=True, resource=resource, identity=identity, scps=scps, rcps=levels("rcp"), requests=requests)
    role = ":role/" in asked.resource  # its policy is a trust policy
    wants_resource = not role and chance(draw, 90 if alone or asked.account == catalogue.AWAY else 30)
    return World(
        identity=() if alone else documents("identity", 3),
        resource=document(draw, asked, "resource") if wants_resource else None,
        boundary=document(draw, asked, "boundary") if not alone and chance(draw, 15) else None,
        session=(documents("session", 2) or None) if not alone and chance(draw, 15) else None,
        scps=() if alone else levels("scp"),
        rcps=levels("rcp"),
        endpoint=document(draw, asked, "endpoint") if chance(draw, 10) else None,
        requests=requests,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    return world(lambda most: draw(UP_TO[most]))


def drawn(seed: int) -> Iterator[World]:
    """Worlds without end."""
    source = Random(seed)
    while True:
        yield world(lambda most: int(source.random() * (most + 1)))
