"""Configurations of buckets and objects against S3's schema: what SDKs write passes, what breaks a rule is MalformedXML."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.serialize import create_serializer

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import schema
from towpath.sandbox.s3.operations import OPERATIONS
from towpath.sandbox.wire import Body, Request

NAMES = sorted(
    {each.name for each in OPERATIONS if each.method == "PUT" and each.selector and schema.payload(each.name)}
)
MODEL: Any = botocore.session.Session().get_service_model("s3")
TAGS = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
RULE = "<LifecycleConfiguration><Rule><ID>x</ID><Status>Enabled</Status><Filter/><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>"


def full(shape: Any, depth: int = 8) -> Any:
    """A value with every member of the shape, as deep as that."""
    if shape.type_name == "structure":
        return {name: full(member, depth - 1) for name, member in shape.members.items()} if depth else {}
    if shape.type_name == "list":
        return [full(shape.member, depth), full(shape.member, depth)]
    values: dict[str, Any] = {"integer": 1, "long": 1, "boolean": True, "timestamp": "2030-01-01T00:00:00Z"}
    enum = getattr(shape, "enum", None)
    return values.get(shape.type_name, enum[0] if enum else "x")


def code(operation: str, text: str) -> str:
    try:
        schema.check(operation, Request(method="PUT", path="/lake", body=Body([text.encode()])))
    except AwsError as error:
        return error.code
    return "taken"


@pytest.mark.parametrize("name", NAMES)
def test_what_an_sdk_writes_is_taken(name: str) -> None:
    operation = MODEL.operation_model(name)
    payload = operation.input_shape.serialization["payload"]
    parameters = {
        member: full(shape) if member == payload else full(shape, 0)
        for member, shape in operation.input_shape.members.items()
    }
    sent = create_serializer("rest-xml", include_validation=False).serialize_to_request(parameters, operation)
    assert code(name, sent["body"].decode()) == "taken"


def test_there_are_such_operations() -> None:
    assert {"PutBucketTagging", "PutBucketLifecycleConfiguration", "PutObjectTagging", "PutBucketVersioning"} <= set(
        NAMES
    )


@pytest.mark.parametrize(
    ("operation", "right", "before", "after"),
    [
        ("PutBucketTagging", TAGS, "<Value>b</Value>", ""),
        ("PutBucketTagging", TAGS, "<Value>b</Value>", "<Value>b</Value><Value>c</Value>"),
        ("PutBucketTagging", TAGS, "<Value>b</Value>", "<Value>b</Value><Other/>"),
        ("PutBucketTagging", TAGS, "<Key>a</Key>", "<Key><Key>a</Key></Key>"),
        ("PutBucketTagging", TAGS, "Tagging>", "Taggings>"),
        ("PutBucketTagging", TAGS, "</Tagging>", ""),
        ("PutBucketTagging", TAGS, "Tag>", "Rule>"),
        ("PutBucketLifecycleConfiguration", RULE, "Enabled", "enabled"),
        ("PutBucketLifecycleConfiguration", RULE, "<Days>3", "<Days>three"),
        ("PutBucketLifecycleConfiguration", RULE, "<Days>3</Days>", "<Date>tomorrow</Date>"),
        ("PutBucketLifecycleConfiguration", RULE, "<Status>Enabled</Status>", ""),
    ],
)
def test_what_breaks_a_rule_is_malformed(operation: str, right: str, before: str, after: str) -> None:
    assert code(operation, right) == "taken"
    assert before in right
    assert code(operation, right.replace(before, after)) == "MalformedXML"


def test_nothing_at_all() -> None:
    assert code("PutBucketTagging", TAGS) == "taken"
    assert code("PutBucketTagging", "") == "MissingRequestBodyError"
    assert code("CreateBucket", "") == "taken"
    assert code("GetBucketTagging", "<x") == "taken"


def test_an_acl_without_body_is_in_a_header() -> None:
    assert code("PutBucketAcl", "") == "MissingSecurityHeader"
    for header in ("x-amz-acl", "x-amz-grant-read"):
        schema.check("PutBucketAcl", Request(method="PUT", path="/lake", headers={header: "private"}))
