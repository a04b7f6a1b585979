"""Requests made to mean one thing to the gate and another to what stands behind it, or to end in nothing that AWS would answer."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlencode

import httpx2
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from towpath.sandbox.objects.store import Store
from towpath.sandbox.operations import LONGEST_BODY
from towpath.sandbox.s3 import rules
from towpath.sandbox.wire import LARGEST_FORM

from .conftest import World
from .test_gate import http, signed
from .test_sts import allow, fresh, policy

FORM = "application/x-www-form-urlencoded"
OTHER = "210987654321"


def query(world: World, action: str, key: tuple[str, str] | None = None, **headers: str) -> tuple[int, str]:
    """One call of IAM."""
    body = urlencode({"Action": action, "Version": "2010-05-08"}).encode()
    sent = signed(world, "POST", "/", service="iam", body=body, key=key, **{"Content-Type": FORM, **headers})
    answer = http(world, "POST", "/", headers=sent, content=body)
    return answer.status_code, answer.text


@pytest.mark.parametrize("name", ["x-moto-account-id", "x_moto_account_id", "x-moto_account-id"])
def test_no_header_names_another_account(world: World, name: str) -> None:
    """WSGI has one name for a header with underscores and the same with hyphens."""
    world.client("iam").create_user(UserName=f"owned-{name}")
    own = world.sandbox.admin_key.principal.account
    status, text = query(world, "ListUsers", **{name: OTHER})
    assert (status, f"owned-{name}" in text) == (200, True)
    other = world.sandbox.account(OTHER)
    status, text = query(world, "ListUsers", (other.access_key, other.secret), **{name: own})
    assert (status, "owned-" in text) == (200, False)


# --- forms, and the sandbox's own interface --------------------------------------------------------------------------


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_form_of_too_many_fields_is_a_clients_mistake(world: World, is_signed: bool) -> None:
    for fields, expected in ((9_000, 200 if is_signed else 403), (10_001, 400)):
        body = ("Action=ListUsers&Version=2010-05-08" + "".join(f"&a{n}=1" for n in range(fields))).encode()
        headers = {"Content-Type": FORM}
        sent = signed(world, "POST", "/", service="iam", body=body, **headers) if is_signed else headers
        answer = http(world, "POST", "/", headers=sent, content=body)
        assert answer.status_code == expected, answer.text


def test_a_form_of_too_many_bytes_is_not_read(world: World) -> None:
    start = b"Action=ListUsers&Version=2010-05-08&a="
    for size, expected in ((LARGEST_FORM, 403), (LARGEST_FORM + 1, 413)):
        body = start + b"1" * (size - len(start))
        answer = http(world, "POST", "/", headers={"Content-Type": FORM}, content=body)
        assert answer.status_code == expected, answer.text


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("/calls?after=", "1", "9" * 30),
        ("/calls?after=", "1", "9" * 5_000),
        ("/token", '{"namespace": "a", "serviceAccount": "b"}', "[" * 100_000 + "]" * 100_000),
        ("/token", '{"namespace": "a", "serviceAccount": "b"}', '{"namespace": ' + "[" * 100_000),
        ("/token", '{"namespace": "a", "serviceAccount": "b"}', '{"expiresIn": ' + "9" * 5_000 + "}"),
        ("/token", '{"namespace": "a", "serviceAccount": "b"}', " " * 1024 * 1024 + "{}"),
    ],
)
def test_the_sandboxs_own_interface_answers_whatever_it_is_sent(world: World, path: str, good: str, bad: str) -> None:
    def status(sent: str) -> int:
        headers = {"Authorization": f"Bearer {world.sandbox.secret}"}
        if path.endswith("="):
            return http(world, "GET", f"/.towpath{path}{sent}", headers=headers).status_code
        return http(world, "POST", f"/.towpath{path}", headers=headers, content=sent.encode()).status_code

    assert status(good) == 200
    assert status(bad) == (200 if path.endswith("=") else 400)


# --- names of headers that are made of something else ------------------------------------------------------------------


def s3(world: World, method: str, path: str, body: bytes = b"", **headers: str) -> httpx2.Response:
    """One call of S3; the signature covers `headers`."""
    sent = signed(world, method, path, body=body, **{name.replace("_", "-"): value for name, value in headers.items()})
    return http(world, method, path, headers=sent, content=body)


@pytest.fixture
def bucket(world: World) -> str:
    name = fresh("adversary")
    where = {"LocationConstraint": "eu-west-1"}
    world.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=True)
    world.client("s3").put_object(Bucket=name, Key="k", Body=b"abc")
    return name


@pytest.mark.parametrize(
    "name", ["x-amz-meta-a\r\nEvil: b", "x-amz-meta-a\nEvil: b", "x-amz-meta-a:Evil", "x-amz-meta-a b"]
)
def test_a_presigned_url_makes_no_header_but_a_header(world: World, bucket: str, name: str) -> None:
    admin = world.sandbox.admin_key
    for parameter, expected in (("x-amz-meta-a", 200), (name, 400)):
        url = f"{world.sandbox.endpoint}/{bucket}/presigned?{urlencode({parameter: '1'})}".replace("+", "%20")
        request = AWSRequest(method="PUT", url=url)
        S3SigV4QueryAuth(Credentials(admin.access_key, admin.secret), "s3", "eu-west-1").add_auth(request)
        answer = httpx2.put(request.url, content=b"abc", trust_env=False)
        assert answer.status_code == expected, answer.text
    assert "evil" not in s3(world, "GET", f"/{bucket}/presigned").headers


def form(world: World, bucket: str, fields: dict[str, str], *, length: str = "0, 100") -> httpx2.Response:
    """A browser's upload whose policy takes all these fields; a name that begins with `name*` is written as it is."""
    admin = world.sandbox.admin_key
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    scope = [stamp[:8], "eu-west-1", "s3", "aws4_request"]
    own = {
        "key": "formed",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": "/".join([admin.access_key, *scope]),
        "x-amz-date": stamp,
    }
    names = [unquote(name.removeprefix("name*=UTF-8''")).lower() for name in {**own, **fields}]
    conditions = [["starts-with", f"${name}", ""] for name in ["bucket", *names]]
    text = json.dumps({"expiration": "2100-01-01T00:00:00Z", "conditions": conditions})
    policy = b64encode(text.replace("[[", f'[["content-length-range", {length}], [').encode())
    key = b"AWS4" + admin.secret.encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    sent = {**own, **fields, "policy": policy.decode(), "x-amz-signature": hmac.digest(key, policy, "sha256").hex()}
    lines = ""
    for name, value in sent.items():
        named = name if name.startswith("name*") else f'name="{name}"'
        lines += f"--B\r\nContent-Disposition: form-data; {named}\r\n\r\n{value}\r\n"
    lines += '--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nabc\r\n--B--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    return http(world, "POST", f"/{bucket}", headers=headers, content=lines.encode())


@pytest.mark.parametrize("name", ["name*=UTF-8''x-amz-meta-a%0D%0AEvil%3A%20b", "x-amz-meta-a b", "x-amz-meta-a:b"])
def test_a_form_makes_no_header_but_a_header(world: World, bucket: str, name: str) -> None:
    assert form(world, bucket, {"name*=UTF-8''x-amz-meta-a": "1"}).status_code == 204
    answer = form(world, bucket, {name: "1"})
    assert (answer.status_code, "InvalidArgument" in answer.text) == (400, True), answer.text
    assert "evil" not in s3(world, "GET", f"/{bucket}/formed").headers


def test_what_a_form_says_of_numbers_and_addresses_is_judged(world: World, bucket: str) -> None:
    where = "success_action_redirect"
    assert form(world, bucket, {where: "http://a/"}).headers["location"].startswith("http://a/?bucket=")
    assert form(world, bucket, {where: "http://["}).status_code == 204
    assert form(world, bucket, {}, length="0, 3").status_code == 204
    for length in ("0, 1e999", "-1e999, 3", "NaN, 3", f'0, "{"9" * 5_000}"'):
        assert form(world, bucket, {}, length=length).status_code == 400, length


LONG = "9" * 5_000  # digits: more than Python makes a number of


@pytest.mark.parametrize("text", [f"0-{LONG}", f"-{LONG}", f"{LONG}-", "²-³"])
def test_a_range_of_any_digits(world: World, bucket: str, text: str) -> None:
    assert s3(world, "GET", f"/{bucket}/k", range="bytes=0-1").text == "ab"
    unsigned = {"Range": f"bytes={text}".encode("latin-1")}
    answer = http(world, "GET", f"/{bucket}/k", headers={**signed(world, "GET", f"/{bucket}/k"), **unsigned})
    assert (answer.status_code, answer.text) == (200, "abc")


@pytest.mark.parametrize("number", ["²", LONG, "0x1", "-1", ""])
def test_numbers_of_parts_are_numbers(world: World, bucket: str, number: str) -> None:
    client = world.client("s3")
    upload = client.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"abc")

    def complete(text: str) -> httpx2.Response:
        inner = f"<Part><PartNumber>{text}</PartNumber><ETag>{part['ETag']}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
        return s3(world, "POST", f"/{bucket}/m?uploadId={upload}", body)

    answer = complete(number)
    assert (answer.status_code, "MalformedXML" in answer.text) == (400, True), answer.text
    copying = {"x-amz-copy-source": f"/{bucket}/k", "x-amz-copy-source-range": f"bytes=0-{number.replace('²', '?')}"}
    answer = s3(world, "PUT", f"/{bucket}/m?partNumber=1&uploadId={upload}", **copying)
    assert (answer.status_code, "InvalidArgument" in answer.text) == (400, True), answer.text
    assert complete("1").status_code == 200


@pytest.mark.parametrize("days", ["²", LONG, "999999999", "36501"])
def test_a_default_retention_ends_within_the_calendar(world: World, bucket: str, days: str) -> None:
    def put(text: str) -> int:
        rule = f"<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>{text}</Days></DefaultRetention></Rule>"
        enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"
        body = f"<ObjectLockConfiguration>{enabled}{rule}</ObjectLockConfiguration>".encode()
        return s3(world, "PUT", f"/{bucket}?object-lock", body).status_code

    assert (put("36500"), put(days)) == (200, 400)
    world.client("s3").put_object(Bucket=bucket, Key="kept", Body=b"abc")


def test_a_date_to_retain_until_is_one(world: World, bucket: str) -> None:
    def put(text: str) -> int:
        mode = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": text}
        md5 = b64encode(hashlib.md5(b"abc", usedforsecurity=False).digest()).decode()
        return s3(world, "PUT", f"/{bucket}/kept", b"abc", **mode, **{"Content-MD5": md5}).status_code

    assert put("2100-01-01T00:00:00Z") == 200
    assert put("9999-12-31T23:59:59-23:59") == 400
    assert put("0001-01-01T00:00:00+23:59") == 400


# --- what changes while a request is under way ---------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [False, True])
def test_a_bucket_made_anew_by_another_account_is_another_bucket(
    world: World, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    """A body takes its time: the bucket it was let into can be gone, and its name somebody else's, before it is all there."""
    own, name = world.client("s3"), fresh("adversary")
    key = world.sandbox.account(OTHER)
    other = world.client("s3", {"AccessKeyId": key.access_key, "SecretAccessKey": key.secret, "SessionToken": None})  # type: ignore[dict-item]
    where = {"LocationConstraint": "eu-west-1"}
    source = fresh("adversary")
    for each in (name, source):
        own.create_bucket(Bucket=each, CreateBucketConfiguration=where)
    own.put_object(Bucket=source, Key="k", Body=b"own")
    headers = {"x-amz-copy-source": f"/{source}/k"} if copied else {}
    assert s3(world, "PUT", f"/{name}/k", b"" if copied else b"own", **headers).status_code == 200
    own.delete_object(Bucket=name, Key="k")
    put = Store.put

    def late(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(Store, "put", put)
        own.delete_bucket(Bucket=name)
        other.create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return put(*arguments, **more)

    monkeypatch.setattr(Store, "put", late)
    answer = s3(world, "PUT", f"/{name}/k", b"" if copied else b"own", **headers)
    assert (answer.status_code, "NoSuchBucket" in answer.text) == (404, True), answer.text
    assert "Contents" not in other.list_objects_v2(Bucket=name)


def test_what_is_set_on_an_object_is_not_set_on_the_one_that_replaced_it(
    world: World, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    client, name = world.client("s3"), fresh("adversary")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_object(Bucket=name, Key="k", Body=b"old", Metadata={"is": "old"}, ChecksumAlgorithm="SHA256")
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    client.put_object_tagging(Bucket=name, Key="k", Tagging=tags)
    assert client.get_object_tagging(Bucket=name, Key="k")["TagSet"] == tags["TagSet"]
    update = Store.update

    def late(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(Store, "update", update)
        client.put_object(Bucket=name, Key="k", Body=b"new", Metadata={"is": "new"}, ChecksumAlgorithm="SHA256")
        return update(*arguments, **more)

    monkeypatch.setattr(Store, "update", late)
    client.put_object_tagging(Bucket=name, Key="k", Tagging=tags)
    found = client.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
    assert (found["Body"].read(), found["Metadata"]) == (
        b"new",
        {"is": "new"},
    )  # and botocore held its checksum against it
    assert client.get_object_tagging(Bucket=name, Key="k")["TagSet"] == []


def test_a_lock_set_meanwhile_is_seen(world: World, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    """COMPLIANCE cannot be shortened by whoever read the object's lock before it was there."""
    client = world.client("s3")
    long = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime(2100, 1, 1, tzinfo=UTC)}
    short = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    client.put_object_retention(Bucket=bucket, Key="k", Retention=short)
    client.put_object(Bucket=bucket, Key="k", Body=b"again")
    update = Store.update

    def late(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(Store, "update", update)
        client.put_object_retention(Bucket=bucket, Key="k", Retention=long)
        return update(*arguments, **more)

    monkeypatch.setattr(Store, "update", late)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_object_retention(Bucket=bucket, Key="k", Retention=short)
    assert client.get_object_retention(Bucket=bucket, Key="k")["Retention"]["Mode"] == "COMPLIANCE"


# --- what is claimed of a body, and what a path names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim", ["composite", "without its number", "wrong", "of another algorithm", "size", "wrong size"]
)
def test_what_a_completed_upload_claims_is_held_against_it(world: World, bucket: str, claim: str) -> None:
    client = world.client("s3")
    upload = client.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm="SHA256")["UploadId"]
    part = client.upload_part(
        Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"abc", ChecksumAlgorithm="SHA256"
    )
    text = b64encode(hashlib.sha256(hashlib.sha256(b"abc").digest()).digest()).decode()
    headers = {
        "composite": {"x-amz-checksum-sha256": f"{text}-1"},
        "without its number": {"x-amz-checksum-sha256": text},
        "wrong": {"x-amz-checksum-sha256": b64encode(hashlib.sha256(b"other").digest()).decode()},
        "of another algorithm": {"x-amz-checksum-crc32": "AAAAAA=="},
        "size": {"x-amz-mp-object-size": "3"},
        "wrong size": {"x-amz-mp-object-size": "4"},
    }[claim]
    inner = f"<Part><PartNumber>1</PartNumber><ETag>{part['ETag']}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
    answer = s3(world, "POST", f"/{bucket}/m?uploadId={upload}", body, **headers)
    code = {"wrong": "BadDigest", "of another algorithm": "InvalidRequest", "wrong size": "InvalidRequest"}.get(
        claim, ""
    )
    assert (answer.status_code, code in answer.text) == (400 if code else 200, True), answer.text


def test_a_key_in_no_bucket_is_no_list_of_buckets(world: World, bucket: str) -> None:
    """It was judged as s3:GetObject and answered as s3:ListAllMyBuckets."""
    assert bucket in s3(world, "GET", "/").text
    for method in ("GET", "PUT", "DELETE"):
        answer = s3(world, method, f"//{bucket}/k")
        assert (answer.status_code, "InvalidBucketName" in answer.text) == (400, True), answer.text


def test_a_signature_in_a_header_covers_every_parameter(world: World, bucket: str) -> None:
    path = f"/{bucket}?location"
    sent = signed(world, "GET", path)
    assert http(world, "GET", path, headers=sent).status_code == 200
    answer = http(world, "GET", f"{path}&X-Amz-Signature=1", headers=sent)
    assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True), answer.text


@pytest.mark.parametrize("query", ["policy", "tagging", "delete", ""])
def test_a_body_that_is_read_whole_is_limited(world: World, bucket: str, query: str) -> None:
    method = "POST" if query == "delete" else "PUT" if query else "GET"
    for size, too_large in ((rules.LARGEST_MESSAGE, False), (rules.LARGEST_MESSAGE + 1, True)):
        answer = s3(world, method, f"/{bucket}?{query}".rstrip("?"), b" " * size)
        assert ("MaxMessageLengthExceeded" in answer.text) == too_large, answer.text
        assert answer.status_code == (400 if query or too_large else 200)


# --- bodies that the emulator would read otherwise ------------------------------------------------------------------------


def parameter(world: World, key: tuple[str, str], body: bytes, **headers: str) -> httpx2.Response:
    """SSM's GetParameter."""
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM.GetParameter", **headers}
    sent = signed(world, "POST", "/", service="ssm", body=body, key=key, **headers)
    return http(world, "POST", "/", headers=sent, content=body)


def test_no_body_hides_what_it_names(world: World) -> None:
    """A body too long to be judged by was carried out all the same, and no Deny of what it names was found."""
    ssm, name = world.client("ssm"), fresh("adversary")
    for each in ("open", "closed"):
        ssm.put_parameter(Name=f"{name}-{each}", Value="secret", Type="String")
    resource = f"arn:aws:ssm:*:*:parameter/{name}-closed"
    deny = {"Effect": "Deny", "Action": "ssm:GetParameter", "Resource": resource}
    iam = world.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(allow("ssm:GetParameter"), deny))
    found = iam.create_access_key(UserName=name)["AccessKey"]
    key = (found["AccessKeyId"], found["SecretAccessKey"])
    assert parameter(world, key, json.dumps({"Name": f"{name}-open"}).encode()).status_code == 200
    body = json.dumps({"Name": f"{name}-closed"}).encode()
    for padding in (0, 1024 * 1024, LONGEST_BODY):
        answer = parameter(world, key, body + b" " * padding)
        assert (answer.status_code, "secret" in answer.text) == (413 if padding == LONGEST_BODY else 403, False)
    for each in (gzip.compress(body), body.decode().encode("utf-16"), b"\xef\xbb\xbf" + body):
        answer = parameter(world, key, each, **{"Content-Encoding": "gzip"})
        assert (answer.status_code, "SerializationException" in answer.text) == (400, True), answer.text


@pytest.mark.parametrize("body", [b'{"Name": NaN}', b'{"Name": "\\ud800"}', b'{"Name": "\xff"}', b"\xef\xbb\xbf{}"])
def test_json_that_is_none_is_refused(world: World, body: bytes) -> None:
    admin = world.sandbox.admin_key
    key = (admin.access_key, admin.secret)
    assert "ParameterNotFound" in parameter(world, key, b'{"Name": "\\u00e9"}', **{"Content-Encoding": "gzip"}).text
    answer = parameter(world, key, body)
    assert (answer.status_code, "SerializationException" in answer.text) == (400, True), answer.text
