"""Where iam-simulate and towpath differ on purpose: one rule each, never a case; docs/decision.md has AWS's text for every one.

A rule is a predicate on a world with one request. It forgives a disagreement only where it holds; `example` is one that shows that
the two still differ, so that a rule nobody needs any more is noticed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from towpath.iam import grammar

from .catalogue import HOME
from .world import Asked, Document, World

USER = f"arn:aws:iam::{HOME}:user/ann"
OBJECT = "arn:aws:s3:::lake/ann/x"
PATTERN = re.compile(r"[*?]|\$\{")
SEVERITY = ("allowed", "implicitDeny", "explicitDeny")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`name` is the row's first column in docs/decision.md. `stricter`: towpath denies more, or denies less; None: either."""

    name: str
    holds: Callable[[World, Asked], bool]
    example: World
    stricter: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One condition of a world's policies, and the request's values for its key."""

    document: Document
    base: str
    quantifier: str | None
    values: list[str]
    got: list[str]
    listed: bool  # the request carries a list


def tried(world: World, asked: Asked) -> Iterator[Tried]:
    context = {name.lower(): value for name, value in asked.context.items()}
    for document, operator, key, values in world.conditions():
        parts = grammar.split_operator(operator)
        value = context.get(key.lower())
        if parts is not None:
            got = value if isinstance(value, list) else [] if value is None else [value]
            yield Tried(
                document=document,
                base=parts[1],
                quantifier=parts[0],
                values=values,
                got=got,
                listed=isinstance(value, list),
            )


def any_condition(test: Callable[[Tried], bool]) -> Callable[[World, Asked], bool]:
    return lambda world, asked: any(test(each) for each in tried(world, asked))


def any_resource(test: Callable[[str, Document, Asked], bool]) -> Callable[[World, Asked], bool]:
    def holds(world: World, asked: Asked) -> bool:
        for _, document, statement in world.statements():
            for element in ("Resource", "NotResource"):
                found = statement.get(element, [])
                if any(test(text, document, asked) for text in ([found] if isinstance(found, str) else found)):
                    return True
        return False

    return holds


def allow(**more: Any) -> Document:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", **more}
    return {
        "Version": "2012-10-17",
        "Statement": [{key: value for key, value in statement.items() if value is not None}],
    }


def asked(**more: Any) -> Asked:
    fields: dict[str, Any] = {"action": "s3:GetObject", "resource": OBJECT, "account": HOME, "principal": USER, **more}
    return Asked(**fields)


def when(condition: Mapping[str, Any], context: Mapping[str, Any]) -> World:
    """An identity policy that allows everything under one condition."""
    return World(identity=(allow(Condition=condition),), requests=(asked(context=context),))


# --- values of the request's context -----------------------------------------------------------------------------------


def _epoch_and_date(each: Tried) -> bool:
    """One side is a number of seconds, the other a date."""
    texts = [*each.values, *each.got]
    return each.base.startswith("Date") and len({text.isdigit() for text in texts}) == 2


def _version(text: str) -> int | None:
    try:
        return ipaddress.ip_network(text, strict=False).version
    except ValueError:
        return None


def _addresses(each: Tried) -> bool:
    """A single address, which the engine compares as text; or /0, whose mask it computes in 32 bits."""
    single = [value for value in each.values if "/" not in value]
    odd = [*single, *(value for value in each.values if value.endswith("/0") and _version(value) == 4)]
    if "IpAddress" not in each.base:
        return False
    return any(
        _version(value) != _version(got) or ":" in value or value.endswith("/0") for value in odd for got in each.got
    )


def _not_of_the_type(each: Tried) -> bool:
    """A negated operator, and a value of the request that is no number, date, address or ARN at all."""
    readers: dict[str, Callable[[str], bool]] = {
        "NumericNotEquals": lambda text: re.fullmatch(r"[+-]?\d+(\.\d*)?", text) is not None,
        "DateNotEquals": lambda text: re.fullmatch(r"\d+|\d{4}-\d\d.*", text) is not None,
        "NotIpAddress": lambda text: _version(text) is not None,
        "ArnNotEquals": lambda text: text.count(":") >= 5,
        "ArnNotLike": lambda text: text.count(":") >= 5,
    }
    read = readers.get(each.base)
    return read is not None and any(not read(got) for got in each.got)


# --- elements ----------------------------------------------------------------------------------------------------------


def _type_with_a_wildcard(text: str, _: Document, __: Asked) -> bool:
    """A wildcard, or a variable, before the first / or : of an ARN's last part, S3's buckets aside."""
    parts = text.split(":", 5)
    if len(parts) < 6 or parts[2:5] == ["s3", "", ""]:
        return False
    return PATTERN.search(re.split("[/:]", parts[5])[0]) is not None


def _fields_in_other_letters(text: str, _: Document, asked: Asked) -> bool:
    """The first five fields are the request's but for their case."""
    fields, wanted = text.split(":", 5)[:5], asked.resource.split(":", 5)[:5]
    return fields != wanted and any(
        field != other and field.lower() == other.lower() for field, other in zip(fields, wanted, strict=False)
    )


def _beyond_one_unit(world: World, asked: Asked) -> bool:
    """A wildcard, and in the request a character above U+FFFF or a line break."""
    context = [text for value in asked.context.values() for text in ([value] if isinstance(value, str) else value)]
    odd = any(ord(char) > 0xFFFF or char in "\n\r\u2028\u2029" for text in (asked.resource, *context) for char in text)
    return odd and any("*" in text or "?" in text for _, _, text in _texts(world))


def _names_aws_star(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    return isinstance(principal, dict) and "*" in principal.get("AWS", [])


def _variables(text: str) -> list[tuple[str, str | None]]:
    """Names and defaults, as `${name, 'default'}` has them; what is written otherwise is a name that no request has."""
    found = re.findall(r"\$\{([^}${]*?)(?:, ('[^']*'))?\}", text)
    return [(name.strip().lower(), default[1:-1] if default else None) for name, default in found]


def _texts(world: World) -> Iterator[tuple[Document, str | None, str]]:
    """Everything that may hold a variable: of conditions with their operator, of resources with none."""
    for document, operator, _, values in world.conditions():
        yield from ((document, operator, value) for value in values)
    for _, document, statement in world.statements():
        for element in ("Resource", "NotResource"):
            found = statement.get(element, [])
            yield from ((document, None, text) for text in ([found] if isinstance(found, str) else found))


def _value_of(asked: Asked, name: str) -> str | list[str] | None:
    return {key.lower(): value for key, value in asked.context.items()}.get(name)


def _empty_default(world: World, asked: Asked) -> bool:
    return any(
        default == "" and not _value_of(asked, name)
        for _, _, text in _texts(world)
        for name, default in _variables(text)
    )


def _negated_without_a_value(world: World, asked: Asked) -> bool:
    return any(
        operator is not None
        and "not" in operator.lower()
        and default is None
        and not isinstance(_value_of(asked, name), str)
        for _, operator, text in _texts(world)
        for name, default in _variables(text)
    )


def _other_path(world: World, asked: Asked) -> bool:
    """A role that has the name of the session's role and another path."""
    own = asked.role_arn or ""
    name = own.rpartition("/")[2]
    return bool(own) and any(
        other.endswith("/" + name) and other != own
        for _, _, statement in world.statements()
        for other in re.findall(r"arn:aws:iam::[0-9]{12}:role/[^'\"]+", str(statement))
    )


RULES: tuple[Rule, ...] = (
    Rule(
        name="a list of one value",
        holds=any_condition(lambda each: each.listed and len(each.got) == 1 and each.quantifier is None),
        example=when({"StringEquals": {"aws:TagKeys": "Team"}}, {"aws:TagKeys": ["Team"]}),
    ),
    Rule(
        name="the account's root",
        stricter=False,
        holds=lambda _, asked: (asked.principal or "").endswith(":root"),
        example=World(requests=(asked(principal=f"arn:aws:iam::{HOME}:root"),)),
    ),
    Rule(
        name="seconds and dates",
        holds=any_condition(_epoch_and_date),
        example=when({"DateEquals": {"aws:EpochTime": "2026-06-01T12:00:00Z"}}, {"aws:EpochTime": "1780315200"}),
    ),
    Rule(
        name="a text that is no date",
        holds=any_condition(
            lambda each: (
                each.base.startswith("Date") and any(not re.fullmatch(r"\d+|\d{4}-\d\d.*", got) for got in each.got)
            )
        ),
        example=when({"DateLessThan": {"aws:RequestedRegion": "2026-06-01"}}, {"aws:RequestedRegion": "us-east-1"}),
    ),
    Rule(
        name="a number with something after it",
        holds=any_condition(
            lambda each: (
                each.base.startswith("Numeric") and any(not re.fullmatch(r"-?\d+(\.\d+)?", got) for got in each.got)
            )
        ),
        example=when({"NumericEquals": {"s3:max-keys": "1"}}, {"s3:max-keys": "1e3"}),
    ),
    Rule(
        name="single addresses and 0.0.0.0/0",
        holds=any_condition(_addresses),
        example=when({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}, {"aws:SourceIp": "203.0.113.7"}),
    ),
    Rule(
        name="a negated operator and a value of no such type",
        holds=any_condition(_not_of_the_type),
        example=when({"ArnNotLike": {"aws:SourceArn": "arn:aws:s3:::lake"}}, {"aws:SourceArn": "no-arn"}),
    ),
    Rule(
        name="an ARN operator and a bare star",
        holds=any_condition(lambda each: each.base.startswith("Arn") and "*" in each.values),
        example=when({"ArnLike": {"aws:SourceArn": "*"}}, {"aws:SourceArn": "arn:aws:s3:::lake"}),
    ),
    # --- variables ---------------------------------------------------------------------------------------------------
    Rule(
        name="variables before Version 2012-10-17",
        holds=lambda world, _: any(
            "${" in text and document.get("Version") != "2012-10-17" for document, _, text in _texts(world)
        ),
        example=World(
            identity=({**allow(Resource="arn:aws:s3:::lake/${aws:username}/*"), "Version": "2008-10-17"},),
            requests=(asked(context={"aws:username": "ann"}),),
        ),
    ),
    Rule(
        name="a default that is empty",
        holds=_empty_default,
        example=World(
            identity=(allow(Resource="arn:aws:s3:::lake/ann/x${aws:PrincipalTag/Team, ''}"),), requests=(asked(),)
        ),
    ),
    Rule(
        name="${*} where a string is equal",
        holds=lambda world, _: any(
            re.search(r"\$\{[*?$]\}", text) is not None and operator is not None and "equals" in operator.lower()
            for _, operator, text in _texts(world)
        ),
        example=when({"StringEquals": {"aws:PrincipalTag/Team": "${*}"}}, {"aws:PrincipalTag/Team": "*"}),
    ),
    Rule(
        name="a negated operator and a variable without a value",
        holds=_negated_without_a_value,
        example=when(
            {"StringNotEquals": {"aws:RequestedRegion": "${aws:PrincipalTag/Region}"}},
            {"aws:RequestedRegion": "eu-west-1"},
        ),
    ),
    # --- resources ---------------------------------------------------------------------------------------------------
    Rule(
        name="a wildcard or a variable in the resource's type",
        holds=any_resource(_type_with_a_wildcard),
        example=World(
            identity=(allow(Resource="arn:aws:logs:*:*:*:/aws-glue/*"),),
            requests=(
                asked(action="logs:PutLogEvents", resource=f"arn:aws:logs:eu-west-1:{HOME}:log-group:/aws-glue/jobs"),
            ),
        ),
    ),
    Rule(
        name="the case of an ARN's first fields",
        holds=any_resource(_fields_in_other_letters),
        example=World(identity=(allow(Resource="arn:aws:S3:::lake/ann/x"),), requests=(asked(),)),
    ),
    Rule(
        name="line breaks and characters above U+FFFF under a wildcard",
        holds=_beyond_one_unit,
        example=when({"StringLike": {"s3:prefix": "line*k"}}, {"s3:prefix": "line\nbreak"}),
    ),
    # --- how policies combine ----------------------------------------------------------------------------------------
    Rule(
        name="a session policy and a resource's policy that names the session",
        stricter=False,
        holds=lambda world, asked: world.session is not None and world.resource is not None and asked.account == HOME,
        example=World(
            identity=(allow(),),
            session=(allow(Action="sqs:*"),),
            resource=allow(Principal={"AWS": f"arn:aws:sts::{HOME}:assumed-role/etl/run-1"}),
            requests=(
                asked(
                    principal=f"arn:aws:sts::{HOME}:assumed-role/etl/run-1", role_arn=f"arn:aws:iam::{HOME}:role/etl"
                ),
            ),
        ),
    ),
    # --- services that answer for themselves -------------------------------------------------------------------------
    Rule(
        name="sts:GetCallerIdentity",
        stricter=True,
        holds=lambda _, asked: asked.action.lower() == "sts:getcalleridentity",
        example=World(requests=(asked(action="sts:GetCallerIdentity", resource="*"),)),
    ),
    Rule(
        name="a KMS key without a key policy",
        stricter=False,
        holds=lambda world, asked: asked.action.lower().startswith("kms:") and world.resource is None,
        example=World(
            identity=(allow(),), requests=(asked(action="kms:Decrypt", resource=f"arn:aws:kms:eu-west-1:{HOME}:key/1"),)
        ),
    ),
    # --- whom a statement names --------------------------------------------------------------------------------------
    Rule(
        name="the Principal of an endpoint's policy",
        holds=lambda world, _: any(
            kind == "endpoint" and statement.get("Principal") != "*" for kind, _, statement in world.statements()
        ),
        example=World(
            identity=(allow(),),
            endpoint=allow(Principal={"AWS": f"arn:aws:iam::{HOME}:user/bob"}),
            requests=(asked(),),
        ),
    ),
    Rule(
        name="a role of the same name and another path",
        holds=_other_path,
        example=World(
            resource=allow(Principal={"AWS": f"arn:aws:iam::{HOME}:role/data/etl"}),
            requests=(
                asked(
                    principal=f"arn:aws:sts::{HOME}:assumed-role/etl/run-1", role_arn=f"arn:aws:iam::{HOME}:role/etl"
                ),
            ),
        ),
    ),
    Rule(
        name="NotPrincipal without the account",
        stricter=True,
        holds=lambda world, _: any("NotPrincipal" in statement for _, _, statement in world.statements()),
        example=World(
            identity=(allow(),),
            resource=allow(Effect="Deny", NotPrincipal={"AWS": USER}),
            requests=(asked(),),
        ),
    ),
    Rule(
        name="AWS: * and a service or a token",
        holds=lambda world, asked: (
            asked.caller().arn is None
            and asked.principal is not None
            and any(_names_aws_star(statement) for _, _, statement in world.statements())
        ),
        example=World(resource=allow(Principal={"AWS": "*"}), requests=(asked(principal="lambda.amazonaws.com"),)),
    ),
)


def explained(world: World, asked: Asked, ours: str, theirs: str) -> str | None:
    """The rule that explains this difference on a world with one request, or None."""
    stricter = SEVERITY.index(ours) > SEVERITY.index(theirs) if theirs in SEVERITY else None
    for rule in RULES:
        if rule.stricter in (None, stricter) and rule.holds(world, asked):
            return rule.name
    return None
