"""Policy documents: whatever is handed in, the answer is a document or a PolicyError, and a document decides without an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towpath.iam import grammar
from towpath.iam.context import Context
from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request, decide
from towpath.iam.policy import PolicyError, PolicyKind, parse_policy

from .conftest import EVERYDAY, fuzzing
from .mutations import spoiled, spoiled_bytes

SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["Allow", "Deny", "*", "s3:*"]),
)
KEYS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [*grammar.DOCUMENT_ELEMENTS, *grammar.STATEMENT_ELEMENTS, *grammar.OPERATORS, *grammar.PRINCIPAL_TYPES, "aws:x"]
    ),
)
ANY_JSON = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)
VALID = {
    "Version": "2012-10-17",
    "Id": "example",
    "Statement": [
        {
            "Sid": "One",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:*"],
            "Resource": ["arn:aws:s3:::lake/${aws:username}/*", "*"],
            "Condition": {
                "StringLike": {"s3:prefix": ["a*", "${aws:PrincipalTag/Team, 'x'}"]},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]},
                "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                "NumericLessThan": {"s3:max-keys": 10},
                "DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
                "ArnLikeIfExists": {"aws:SourceArn": "arn:aws:s3:::*"},
                "Bool": {"aws:SecureTransport": True},
                "BinaryEquals": {"test:Digest": "QUJD"},
                "Null": {"aws:TokenIssueTime": "false"},
            },
        },
        {"Effect": "Deny", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::other"},
    ],
}
TEXT = json.dumps(VALID)
KINDS = st.sampled_from(list(PolicyKind))
CONTEXT = Context(
    {
        "aws:username": "ann",
        "s3:prefix": "a",
        "aws:TagKeys": ["Team", "x"],
        "aws:SourceIp": "10.1.1.1",
        "s3:max-keys": 5,
        "aws:CurrentTime": "2026-06-01T00:00:00Z",
        "aws:SourceArn": "arn:aws:s3:::lake",
        "aws:SecureTransport": True,
        "test:Digest": "QUJD",
    }
)


def read(document: Any, kind: PolicyKind) -> None:
    """Only PolicyError may come out of it; what is accepted can be asked, and explains itself."""
    if not isinstance(document, (str, bytes, dict)):
        document = json.dumps(document)
    try:
        policy = parse_policy(document, kind=kind)
    except PolicyError:
        return
    caller = Caller(arn="arn:aws:iam::111111111111:user/ann", account="111111111111")
    request = Request(action="s3:GetObject", resource="arn:aws:s3:::lake/ann/x", caller=caller, context=CONTEXT)
    named = NamedPolicy(name="fuzzed", document=policy)
    identity = kind is PolicyKind.IDENTITY
    decision = decide(request, PolicySet(identity=(named,) if identity else (), resource=None if identity else named))
    assert decision.reason
    assert len(decision.statements) == len(policy.statements)


def put(into: Any, path: list[int], value: Any) -> Any:
    """The document with one node, found by walking along `path`, replaced."""
    if not path or not isinstance(into, (dict, list)) or not into:
        return value
    if isinstance(into, list):
        at = path[0] % len(into)
        return [put(item, path[1:], value) if index == at else item for index, item in enumerate(into)]
    name = sorted(into)[path[0] % len(into)]
    return {key: put(item, path[1:], value) if key == name else item for key, item in into.items()}


@EVERYDAY
def test_any_json(examples: int) -> None:
    fuzzing(examples)(given(ANY_JSON, KINDS)(read))()


@EVERYDAY
def test_a_valid_document_with_one_node_replaced(examples: int) -> None:
    def check(path: list[int], value: Any, kind: PolicyKind) -> None:
        read(put(VALID, path, value), kind)
        read(json.dumps(put(VALID, path, value)), kind)

    fuzzing(examples)(given(st.lists(st.integers(0, 9), max_size=6), ANY_JSON, KINDS)(check))()


@EVERYDAY
def test_any_text(examples: int) -> None:
    fuzzing(examples)(
        given(st.one_of(st.text(), st.binary(), spoiled(TEXT), spoiled_bytes(TEXT.encode())), KINDS)(read)
    )()


@EVERYDAY
def test_any_value_of_a_condition(examples: int) -> None:
    def check(operator: str, prefix: str, suffix: str, values: list[Any], got: str) -> None:
        condition = {prefix + operator + suffix: {"aws:key": values}}
        document = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition},
        }
        try:
            policy = parse_policy(document, kind=PolicyKind.IDENTITY)
        except PolicyError:
            return
        for context in (Context(), Context({"aws:key": got}), Context({"aws:key": [got, "x"]})):
            decide(
                Request(action="s3:x", resource="*", context=context),
                PolicySet(identity=(NamedPolicy(name="p", document=policy),)),
            )

    odd = st.sampled_from(
        ["1e999999999", "NaN", "Infinity", "-", "9" * 5000, "0001-01-01", "9999-12-31T23:59:59Z", "2026-W01", "::", "1.1.1.1/0", "::/129",
         "fe80::1%eth0", "arn:::::", "arn:aws:s3:::" + "*a" * 50, "=", "QQ==", "${", "${a", "${*", "1_000", " 5 ", "²", "\ud800", "10.0.0.1/255.0.0.0"]
    )  # fmt: skip
    value = st.one_of(SCALAR, odd)
    strategy = (
        st.sampled_from(grammar.OPERATORS),
        st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]),
        st.sampled_from(["", "IfExists"]),
        st.lists(value, max_size=3),
        st.one_of(st.text(max_size=12), odd),
    )
    fuzzing(examples)(given(*strategy)(check))()


@pytest.mark.parametrize("kind", list(PolicyKind))
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 5_000,
        '{"Version": ' + "9" * 5_000 + "}",
        "1e400",
        '{"Version": "2012-10-17", "Statement": [' + ",".join(["{}"] * 100_000) + "]}",
        b"\xff\xfe\x00",
        "\ufeff{}",
        '"\\ud800"',
        '{"Version":"2012-10-17","Statement":{"Sid":"\\ud800","Effect":"Allow","Action":"*","Resource":"*"}}',
        "",
    ],
    ids=lambda text: repr(text[:16]),
)
def test_texts_made_to_break_a_parser(text: str | bytes, kind: PolicyKind) -> None:
    read(text, kind)


def test_huge_lists_are_read_in_time() -> None:
    """A policy of a thousand statements, each of a hundred patterns with stars: no faster than it must be, but it ends."""
    patterns = [f"arn:aws:s3:::*{index}*a*b*c" for index in range(100)]
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": patterns}
    read({"Version": "2012-10-17", "Statement": [statement] * 1000}, PolicyKind.IDENTITY)


def test_a_document_nested_as_objects() -> None:
    """Handed over as Python objects, deeper than Python recurses."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for document in (
        {"Statement": deep},
        {"Version": deep, "Statement": []},
        {"Statement": {"Effect": "Allow", "Action": deep, "Resource": "*"}},
        {"Statement": {"Effect": deep, "Action": "*", "Resource": "*"}},
        {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"a": deep}}}},
        {"Id": deep, "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}},
    ):
        read(document, PolicyKind.IDENTITY)
