"""A browser's upload by POST: taken as signed, refused for each condition, field and signature that is not as it has to be."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from botocore.config import Config

from .conftest import World, numbers


def presigned(world: World, bucket: str, credentials: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """The form as boto3 makes it for `up/${filename}`."""
    s3 = world.client("s3", credentials, config=Config(signature_version="s3v4"))
    conditions = [["starts-with", "$key", "up/"], ["content-length-range", 1, 1000], *more.pop("Conditions", [])]
    return s3.generate_presigned_post(bucket, "up/${filename}", Conditions=conditions, ExpiresIn=60, **more)


def post(
    form: dict[str, Any], content: bytes = b"content", filename: str = "a.txt", **fields: str | None
) -> httpx2.Response:
    """Fields in order, then the file. A field given as None is left out."""
    found = {**form["fields"], **{name.replace("_", "-"): value for name, value in fields.items()}}
    boundary = "----boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in found.items()
        if value is not None
    ]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: text/plain\r\n\r\n'
    body = "".join(parts).encode() + file.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return httpx2.post(form["url"], content=body, headers=headers, trust_env=False, timeout=30)


def code(answer: httpx2.Response) -> str:
    text = answer.text
    return f"{text.partition('<Code>')[2].partition('</Code>')[0]}: {text.partition('<Message>')[2].partition('</Message>')[0]}"


def test_form_is_taken(world: World, bucket: str) -> None:
    answer = post(presigned(world, bucket), b"hello\r\n--world", filename="docs/a b.txt")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["location"].endswith(f"/{bucket}/up/a%20b.txt")
    assert world.client("s3").get_object(Bucket=bucket, Key="up/a b.txt")["Body"].read() == b"hello\r\n--world"
    last = world.sandbox.record.as_json()[-2]
    assert (last["action"], last["resource"], last["who"]) == (
        "s3:PutObject",
        f"arn:aws:s3:::{bucket}/up/a b.txt",
        "arn:aws:iam::123456789012:root",
    )


@pytest.mark.parametrize(("status", "expected"), [("200", 200), ("201", 201), ("204", 204), ("404", 204)])
def test_what_success_answers(world: World, bucket: str, status: str, expected: int) -> None:
    form = presigned(
        world, bucket, Fields={"success_action_status": status}, Conditions=[{"success_action_status": status}]
    )
    answer = post(form)
    assert answer.status_code == expected
    if expected == 201:
        assert f"<Bucket>{bucket}</Bucket><Key>up/a.txt</Key>" in answer.text
        assert answer.headers["etag"].strip('"') in answer.text


def test_success_can_redirect(world: World, bucket: str) -> None:
    target = "https://app.example/done?x=1"
    form = presigned(
        world, bucket, Fields={"success_action_redirect": target}, Conditions=[{"success_action_redirect": target}]
    )
    answer = post(form)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{target}&bucket={bucket}&key=up%2Fa.txt&etag=")


def test_fields_become_the_objects_headers(world: World, bucket: str) -> None:
    fields = {"Content-Type": "text/csv", "x-amz-meta-origin": "form", "Cache-Control": "no-store"}
    tagging = "<Tagging><TagSet><Tag><Key>team</Key><Value>a b</Value></Tag></TagSet></Tagging>"
    fields["tagging"] = tagging
    form = presigned(world, bucket, Fields=fields, Conditions=[{name: value} for name, value in fields.items()])
    assert post(form).status_code == 204
    found = world.client("s3").get_object(Bucket=bucket, Key="up/a.txt")
    assert (found["ContentType"], found["Metadata"], found["CacheControl"]) == (
        "text/csv",
        {"origin": "form"},
        "no-store",
    )
    tags = world.client("s3").get_object_tagging(Bucket=bucket, Key="up/a.txt")["TagSet"]
    assert tags == [{"Key": "team", "Value": "a b"}]


def _policy(form: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> str:
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    change(policy)
    return base64.b64encode(json.dumps(policy).encode()).decode()


@pytest.mark.parametrize(
    ("fields", "status", "expected"),
    [
        ({"key": "down/a.txt"}, 403, 'AccessDenied: Invalid according to Policy: Policy Condition failed: ["starts-with", "$key", "up/"]'),
        ({"x_amz_meta_a": "b"}, 403, "AccessDenied: Invalid according to Policy: Extra input fields: x-amz-meta-a"),
        ({"acl": "private"}, 403, "AccessDenied: Invalid according to Policy: Extra input fields: acl"),
        ({"Content_Type": "text/html"}, 403, "AccessDenied: Invalid according to Policy: Extra input fields: content-type"),
        ({"key": None}, 400, "InvalidArgument: Bucket POST must contain a field named 'key'."),
        ({"policy": None}, 400, "InvalidArgument: Bucket POST must contain a field named 'policy'."),
        ({"x_amz_signature": None}, 400, "InvalidArgument: Bucket POST must contain a field named 'x-amz-signature'."),
        ({"x_amz_date": None}, 400, "InvalidArgument: Bucket POST must contain a field named 'x-amz-date'."),
        ({"x_amz_signature": "0" * 64}, 403, "SignatureDoesNotMatch: "),
        ({"x_amz_algorithm": "AWS4-HMAC-SHA1"}, 400, "InvalidArgument: "),
        ({"x_amz_credential": "AKIAIOSFODNN7EXAMPLE/20300101/eu-west-1/s3/aws4_request"}, 403, "SignatureDoesNotMatch: "),
        ({"AWSAccessKeyId": "AKIAIOSFODNN7EXAMPLE"}, 400, "InvalidRequest: "),
        ({"x_amz_security_token": "x"}, 400, "InvalidToken: "),
    ],
    ids=str,
)  # fmt: skip
def test_field_that_is_not_as_signed(
    world: World, bucket: str, fields: dict[str, str | None], status: int, expected: str
) -> None:
    form = presigned(world, bucket)
    assert post(form, x_ignore_this="anything").status_code == 204
    world.client("s3").delete_object(Bucket=bucket, Key="up/a.txt")
    answer = post(form, **fields)
    assert answer.status_code == status
    assert code(answer).startswith(expected)
    assert [item["Key"] for item in world.client("s3").list_objects_v2(Bucket=bucket)["Contents"]] == ["raw/present"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "EntityTooSmall: Your proposed upload is smaller than the minimum allowed size"),
        (b"x" * 1001, "EntityTooLarge: Your proposed upload exceeds the maximum allowed size"),
    ],
)
def test_length_of_the_file(world: World, bucket: str, content: bytes, expected: str) -> None:
    form = presigned(world, bucket)
    for size in (1, 1000):
        assert post(form, b"x" * size).status_code == 204
    answer = post(form, content)
    assert (answer.status_code, code(answer)) == (400, expected)


def test_large_file_goes_by_the_disk(world: World, bucket: str) -> None:
    s3 = world.client("s3", config=Config(signature_version="s3v4"))
    form = s3.generate_presigned_post(bucket, "large", ExpiresIn=60)
    content = bytes(range(256)) * 4096 * 17  # 17 MiB
    assert post(form, content).status_code == 204
    assert world.client("s3").get_object(Bucket=bucket, Key="large")["Body"].read() == content


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: p.update(expiration="2020-01-01T00:00:00Z"), "SignatureDoesNotMatch"),
        (lambda p: p["conditions"].clear(), "SignatureDoesNotMatch"),
    ],
)
def test_policy_that_was_changed(
    world: World, bucket: str, change: Callable[[dict[str, Any]], None], expected: str
) -> None:
    form = presigned(world, bucket)
    assert post(form).status_code == 204
    assert code(post(form, policy=_policy(form, change))).startswith(expected)


@pytest.mark.parametrize(
    ("policy", "status", "expected"),
    [
        ({"expiration": "2020-01-01T00:00:00.000Z"}, 403, "AccessDenied: Invalid according to Policy: Policy expired."),
        ({"expiration": "soon"}, 400, "InvalidPolicyDocument: Invalid Policy: Invalid 'expiration' value: 'soon'"),
        ({"expiration": None}, 400, "InvalidPolicyDocument: Invalid Policy: Policy missing expiration."),
        ({"conditions": None}, 400, "InvalidPolicyDocument: Invalid Policy: Policy missing conditions."),
        ({"conditions": [{"bucket": "other"}]}, 403, 'AccessDenied: Invalid according to Policy: Policy Condition failed: ["eq", "$bucket", "other"]'),
        ({"conditions": [{"a": "b", "c": "d"}]}, 400, "InvalidPolicyDocument: "),
        ({"conditions": [["like", "$key", "up/"]]}, 400, "InvalidPolicyDocument: "),
        ({"conditions": [["eq", "key", "up/"]]}, 400, "InvalidPolicyDocument: "),
        ({"conditions": [["content-length-range", "few", 9]]}, 400, "InvalidPolicyDocument: "),
        ({"conditions": ["key"]}, 400, "InvalidPolicyDocument: "),
        ({"conditions": [["eq", "$x-amz-meta-a", "b"]]}, 403, 'AccessDenied: Invalid according to Policy: Policy Condition failed: ["eq", "$x-amz-meta-a", "b"]'),
        ([], 400, "InvalidPolicyDocument: Invalid Policy: Invalid JSON."),
    ],
    ids=str,
)  # fmt: skip
def test_signed_policy_that_does_not_hold(world: World, bucket: str, policy: Any, status: int, expected: str) -> None:
    """These are signed for real, so that only what they say is wrong."""
    good = {
        "expiration": (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "conditions": [{"bucket": bucket}, ["eq", "$key", "k"], ["starts-with", "$x-amz-meta-free", ""]],
    }
    assert post(_signed(world, bucket, good), x_amz_meta_free="anything").status_code == 204
    assert post(_signed(world, bucket, good)).status_code == 204
    changed = policy if isinstance(policy, list) else {k: v for k, v in {**good, **policy}.items() if v is not None}
    answer = post(_signed(world, bucket, changed))
    assert answer.status_code == status
    assert code(answer).startswith(expected)


def _signed(world: World, bucket: str, policy: Any) -> dict[str, Any]:
    from towpath.sandbox import signatures, sigv4

    admin = world.sandbox.admin_key
    now = datetime.now(UTC)
    fields = {
        "key": "k",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{admin.access_key}/{now:%Y%m%d}/eu-west-1/s3/aws4_request",
        "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        "x-amz-signature": "0" * 64,
    }
    if isinstance(policy, dict) and "conditions" in policy:
        named = [{name: fields[name]} for name in ("x-amz-algorithm", "x-amz-credential", "x-amz-date")]
        policy = {**policy, "conditions": [*policy["conditions"], *named]}
        if not any(
            condition[:2] == ["eq", "$key"] for condition in policy["conditions"] if isinstance(condition, list)
        ):
            policy["conditions"].append({"key": "k"})
    text = base64.b64encode(json.dumps(policy).encode()).decode()
    scope = sigv4.form_scope(fields)
    fields["x-amz-signature"] = signatures._hmac(signatures.signing_key(admin.secret, scope), text).hex()
    return {"url": f"{world.sandbox.endpoint}/{bucket}", "fields": {**fields, "policy": text}}


def test_content_type_is_checked_item_by_item(world: World, bucket: str) -> None:
    form = presigned(world, bucket, Conditions=[["starts-with", "$Content-Type", "image/"]])
    assert post(form, Content_Type="image/png").status_code == 204
    assert post(form, Content_Type="image/png,image/gif").status_code == 204
    assert code(post(form, Content_Type="image/png,text/html")).startswith("AccessDenied: Invalid according to Policy")


def test_form_needs_the_permissions_of_its_put(world: World, bucket: str) -> None:
    for action, status in (("s3:PutObject", 204), ("s3:GetObject", 403)):
        name = f"form-{next(numbers)}"
        world.role(name, {"Effect": "Allow", "Action": action, "Resource": f"arn:aws:s3:::{bucket}/up/*"})
        form = presigned(world, bucket, world.session(name))
        assert post(form).status_code == status
    assert "because no identity-based policy allows the s3:PutObject action" in code(post(form))
    name = f"form-{next(numbers)}"
    condition = {"StringEquals": {"s3:authType": "POST"}}
    world.role(name, {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*", "Condition": condition})
    assert post(presigned(world, bucket, world.session(name))).status_code == 204


def test_form_makes_no_copy(world: World, bucket: str) -> None:
    def form(name: str) -> dict[str, Any]:
        fields = {name: f"{bucket}/raw/present"}
        return presigned(world, bucket, Fields=fields, Conditions=[fields])

    assert post(form("x-amz-meta-source")).status_code == 204
    answer = post(form("x-amz-copy-source"))
    assert (answer.status_code, code(answer).partition(":")[0]) == (501, "NotImplemented")


def test_form_without_a_signature_is_anonymous(world: World, bucket: str) -> None:
    form = {"url": f"{world.sandbox.endpoint}/{bucket}", "fields": {"key": "anonymous"}}
    assert code(post(form)) == "AccessDenied: Access Denied"
    s3 = world.client("s3")
    s3.delete_public_access_block(Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    assert post(form).status_code == 204


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "MalformedPOSTRequest"),
        (b"--b\r\n", "MalformedPOSTRequest"),
        (b"--b--\r\n", "InvalidArgument"),
        (b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n--b--\r\n', "InvalidArgument"),
        (b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ncut off', "MalformedPOSTRequest"),
        (b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + b"k" * 30_000 + b"\r\n--b--\r\n", "MaxPostPreDataLengthExceededError"),
        (b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name="KEY"\r\n\r\nj\r\n--b--\r\n', "InvalidArgument"),
        (b"--b\r\n\r\nk\r\n--b--\r\n", "MalformedPOSTRequest"),
    ],
)  # fmt: skip
def test_body_that_is_no_form(world: World, bucket: str, body: bytes, expected: str) -> None:
    answer = httpx2.post(
        f"{world.sandbox.endpoint}/{bucket}",
        content=body,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        trust_env=False,
    )
    assert (answer.status_code, code(answer).partition(":")[0]) == (400, expected)
