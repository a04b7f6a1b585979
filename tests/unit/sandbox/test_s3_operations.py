"""Every operation of botocore's own model of S3, serialised by botocore, is known to the gate or refused for a reason."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse

from towpath.iam import s3_actions
from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import operations
from towpath.sandbox.s3.address import locate
from towpath.sandbox.s3.operations import OPERATIONS, PARAMETERS, REFUSED, SELECTORS, SYNONYMS, identify
from towpath.sandbox.s3_operations import needs
from towpath.sandbox.wire import Body, Request

ENDPOINT = "http://127.0.0.1:9"
# What an operation needs that its model does not call required.
ALSO: dict[str, dict[str, Any]] = {
    "PutObjectLegalHold": {"LegalHold": {"Status": "ON"}},
    "PutObjectRetention": {"Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": "2030-01-01T00:00:00Z"}},
    "UpdateObjectEncryption": {
        "ObjectEncryption": {"SSEKMS": {"KMSKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1"}}
    },
}


@pytest.fixture(scope="module")
def client() -> Any:
    session: Any = botocore.session.Session()
    return session.create_client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=ENDPOINT,
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="secret",
    )


def _model() -> dict[str, Any]:
    session: Any = botocore.session.Session()
    return session.get_component("data_loader").load_service_model("s3", "service-2")


MODEL = _model()
NAMES = sorted(MODEL["operations"])


def _value(shape: Any) -> Any:
    """The least value of a shape that botocore serialises."""
    if shape.type_name == "structure":
        return {name: _value(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [_value(shape.member)]
    if shape.type_name == "map":
        return {"k": "v"}
    if shape.type_name in {"integer", "long"}:
        return 1
    if shape.type_name == "boolean":
        return True
    if shape.type_name == "timestamp":
        return "2030-01-01T00:00:00Z"
    if shape.type_name == "blob":
        return b"x"
    return shape.enum[0] if getattr(shape, "enum", None) else "x"


def sent(client: Any, name: str, **more: Any) -> Request:
    """The request botocore would send for an operation, as the gate would see it."""
    operation = client.meta.service_model.operation_model(name)
    shape = operation.input_shape
    parameters = {}
    for member in shape.required_members if shape is not None else ():
        parameters[member] = _value(shape.members[member])
    if shape is not None:
        fixed = {"Bucket": "lake", "Key": "raw/a b", "CopySource": "other/k", "Policy": "{}", "RenameSource": "x"}
        parameters |= {key: value for key, value in fixed.items() if key in parameters}
        parameters |= more
    seen: list[Any] = []

    def catch(request: Any, **_: Any) -> AWSResponse:
        seen.append(request)
        raise _Caught

    client.meta.events.register_first("before-send.s3", catch)
    try:
        client._make_api_call(name, parameters)
    except _Caught:
        pass
    finally:
        client.meta.events.unregister("before-send.s3", catch)
    raw = seen[0]
    url = urlsplit(raw.url)
    body = raw.body or b""
    body = body if isinstance(body, (bytes, str)) else body.read()
    headers = {k.lower(): v.decode() if isinstance(v, bytes) else str(v) for k, v in raw.headers.items()}
    return Request(
        method=raw.method,
        path=url.path,
        query=url.query,
        headers={"host": "127.0.0.1", **headers},
        body=Body([body.encode() if isinstance(body, str) else body]),
    )


class _Caught(Exception):
    pass


def test_every_operation_is_mapped_or_refused_with_a_reason() -> None:
    mapped = {row.name for row in OPERATIONS}
    assert not mapped & set(REFUSED)
    assert not mapped & set(SYNONYMS)
    assert mapped | set(REFUSED) | set(SYNONYMS) == set(NAMES)
    assert set(SYNONYMS.values()) <= mapped
    assert all(REFUSED.values())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_operation_is_recognised_as_botocore_writes_it(client: Any, name: str) -> None:
    request = sent(client, name, **ALSO.get(name, {}))
    address = locate(request, ("127.0.0.1",))
    found = identify(request, bucket=address.bucket, key=address.key)
    assert found.name == SYNONYMS.get(name, name)
    if name != "DeleteObjects":
        assert needs(request, found, address, partition="aws")[0].action == f"s3:{found.actions[0]}"


@pytest.mark.parametrize("name", sorted(set(REFUSED) - {"ListDirectoryBuckets", "WriteGetObjectResponse"}))
def test_refused_operation_is_no_other(client: Any, name: str) -> None:
    request = sent(client, name)
    request = Request(
        method=request.method,
        path=request.path if request.path.startswith("/lake") else "/lake" + request.path,
        query=request.query,
        headers=request.headers,
    )
    address = locate(request, ("127.0.0.1",))
    with pytest.raises(AwsError, match="MethodNotAllowed"):
        identify(request, bucket=address.bucket, key=address.key)


def test_every_query_parameter_of_the_model_is_known() -> None:
    literal = set(SELECTORS) | {"list-type", "select-type"}
    known = literal | set(PARAMETERS) | {"max-directory-buckets"}
    for operation in MODEL["operations"].values():
        shape = MODEL["shapes"].get(operation.get("input", {}).get("shape", ""), {})
        names = {
            member["locationName"]
            for member in shape.get("members", {}).values()
            if member.get("location") == "querystring"
        }
        uri = operation["http"]["requestUri"].partition("?")[2]
        names |= {part.partition("=")[0] for part in uri.split("&") if part}
        if not operation["http"]["requestUri"].startswith("/WriteGetObjectResponse"):
            unknown = {name for name in names if name not in known}
            assert not unknown - {"metadataConfiguration", "metadataTable"}, unknown


def test_a_selector_never_falls_back_to_the_plain_method() -> None:
    """DELETE ?acl is not DeleteBucket, PUT ?torrent no PutObject."""
    for selector in SELECTORS:
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            for bucket, key in (("lake", ""), ("lake", "k")):
                request = Request(method=method, path=f"/{bucket}/{key}", query=f"{selector}&partNumber=1&id=x")
                try:
                    found = identify(request, bucket=bucket, key=key).selector
                except AwsError as error:
                    found = error.code
                assert found in {selector, "MethodNotAllowed"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("acl&policy", "InvalidArgument"),
        ("versionId=", "InvalidArgument"),
        ("session", "MethodNotAllowed"),
    ],
)
def test_two_readings_of_one_request_are_refused(query: str, code: str) -> None:
    assert identify(Request(method="GET", path="/lake", query="acl"), bucket="lake", key="").name == "GetBucketAcl"
    with pytest.raises(AwsError, match=code):
        identify(Request(method="GET", path="/lake", query=query), bucket="lake", key="")


def test_parameters_that_belong_to_no_operation_are_dropped() -> None:
    request = Request(method="PUT", path="/lake/k", query="partNumber=3&X-Amz-Date=1&x-id=PutObject&versionId=7")
    row = identify(request, bucket="lake", key="k")
    assert (row.name, operations.query_of(request, row)) == ("PutObject", {"versionId": "7"})


def test_actions_are_those_of_the_service_authorization_reference() -> None:
    """Each action acts on what its operation acts on; those newer than the reference's list at hand are named here."""
    newer = {
        "GetBucketAbac", "PutBucketAbac", "GetBucketMetadataTableConfiguration", "DeleteBucketMetadataTableConfiguration",
        "ListObjectAnnotations", "GetObjectAnnotation", "PutObjectAnnotation", "DeleteObjectAnnotation", "UpdateObjectEncryption",
    }  # fmt: skip
    for row in OPERATIONS:
        for action in set(row.actions) - newer:
            known = {"service": s3_actions.ACCOUNT, "bucket": s3_actions.BUCKET, "object": s3_actions.OBJECT}[row.level]
            assert action in known or row.name == "DeleteObjects", (row.name, action)
