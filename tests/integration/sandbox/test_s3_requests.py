"""S3 requests as clients write them on the wire: addresses, signatures, streamed bodies, digests. Each refusal beside what is let in."""

from __future__ import annotations

import base64
import hashlib
import socket
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx2
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from towpath.sandbox import signatures, sigv4
from towpath.sandbox.s3 import checksums, streams
from towpath.sandbox.wire import Request

from .conftest import NO_RETRY, World

Code = Callable[[Callable[[], Any]], str]
EMPTY = hashlib.sha256().hexdigest()


def send(
    world: World,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    payload: str | None = None,
    sent: bytes | None = None,
    host: str | None = None,
    key: tuple[str, str, str | None] | None = None,
    region: str = "eu-west-1",
    **headers: str,
) -> httpx2.Response:
    """One signed request. `payload` is x-amz-content-sha256, `sent` the body on the wire where it is not the one that was signed."""
    admin = world.sandbox.admin_key
    credentials = Credentials(*(key or (admin.access_key, admin.secret, None)))
    base = urlsplit(world.sandbox.endpoint)
    netloc = f"{host}:{base.port}" if host else base.netloc
    request = AWSRequest(
        method=method,
        url=f"http://{netloc}{path}",
        data=body,
        headers={"Host": netloc, **{name.replace("_", "-"): value for name, value in headers.items()}},
    )
    request.headers["X-Amz-Content-SHA256"] = payload or hashlib.sha256(body).hexdigest()
    signer = S3SigV4Auth(credentials, "s3", region)
    if payload is not None:
        signer.payload = lambda _request: payload  # type: ignore[method-assign]
    signer.add_auth(request)
    wire = {name: value for name, value in request.headers.items()}  # noqa: C416 - HTTPHeaders is no dict
    return httpx2.request(
        method,
        world.sandbox.endpoint + path,
        headers=wire,
        content=body if sent is None else sent,
        trust_env=False,
        timeout=30,
    )


def refused(answer: httpx2.Response) -> str:
    text = answer.text
    assert "<Code>" in text, (answer.status_code, text[:300])
    assert "<RequestId>" in text
    assert "<HostId>" in text
    return text.partition("<Code>")[2].partition("</Code>")[0]


# --- addresses -----------------------------------------------------------------------------------------------------

HOSTS = (
    "localhost",
    "s3.localhost",
    "s3.eu-west-1.amazonaws.com",
    "s3.amazonaws.com",
    "s3.dualstack.eu-west-1.amazonaws.com",
    "s3-fips.eu-west-1.amazonaws.com",
    "s3.dualstack.eu-west-1.api.aws",
    "s3-accelerate.amazonaws.com",
)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("hosted", [True, False])
def test_every_way_to_name_a_bucket(world: World, bucket: str, host: str, hosted: bool) -> None:
    path = "/raw/present" if hosted else f"/{bucket}/raw/present"
    answer = send(world, "GET", path, host=f"{bucket}.{host}" if hosted else host)
    assert (answer.status_code, answer.content) == (200, b"here")
    listing = send(
        world,
        "GET",
        "/?list-type=2" if hosted else f"/{bucket}?list-type=2",
        host=f"{bucket}.{host}" if hosted else host,
    )
    assert f"<Name>{bucket}</Name>" in listing.text


def test_virtual_hosted_by_boto3(world: World, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = socket.getaddrinfo

    def resolve(host: Any, *more: Any, **named: Any) -> Any:
        """*.localhost is loopback (RFC 6761); not every machine's resolver knows it."""
        name = host.decode() if isinstance(host, bytes) else host
        return lookup("127.0.0.1" if str(name).endswith(".localhost") else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    environment = world.sandbox.environment()
    s3: Any = boto3.client(
        "s3",
        endpoint_url=world.sandbox.endpoint.replace("127.0.0.1", "s3.localhost"),
        region_name="eu-west-1",
        config=NO_RETRY.merge(Config(s3={"addressing_style": "virtual"})),
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    hosts: list[str] = []
    s3.meta.events.register("before-send.s3", lambda request, **_: hosts.append(urlsplit(request.url).hostname or ""))
    s3.put_object(Bucket=bucket, Key="virtual", Body=b"x")
    assert hosts == [f"{bucket}.s3.localhost"]
    assert world.client("s3").get_object(Bucket=bucket, Key="virtual")["Body"].read() == b"x"


@pytest.mark.parametrize(
    ("host", "path", "status", "code"),
    [
        (None, "/Bucket/key", 400, "InvalidBucketName"),
        (None, "/ab/key", 400, "InvalidBucketName"),
        (None, "/192.168.0.1/key", 400, "InvalidBucketName"),
        (None, "/a..b/key", 400, "InvalidBucketName"),
        (None, "/lake/%zz", 400, "InvalidURI"),
        (None, "/lake/%ff%fe", 400, "InvalidURI"),
        (None, "/lake/" + "k" * 1025, 400, "KeyTooLongError"),
        (None, "/lake/" + "%C3%BC" * 513, 400, "KeyTooLongError"),
        ("s3-control.eu-west-1.amazonaws.com", "/v20180820/jobs", 501, "NotImplemented"),
        ("lake.s3-website.eu-west-1.amazonaws.com", "/", 501, "NotImplemented"),
        ("point-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", "/key", 501, "NotImplemented"),
    ],
)
def test_addresses_s3_would_not_take(world: World, host: str | None, path: str, status: int, code: str) -> None:
    answer = send(world, "GET", path, host=host)
    assert (answer.status_code, refused(answer)) == (status, code)


def test_longest_key(world: World, bucket: str) -> None:
    assert send(world, "PUT", f"/{bucket}/" + "k" * 1024, b"x").status_code == 200
    assert send(world, "GET", f"/{bucket}/" + "k" * 1024).content == b"x"


@pytest.mark.parametrize(
    ("method", "query"),
    [("DELETE", "?acl"), ("PUT", "?uploads"), ("POST", ""), ("HEAD", "?policy"), ("GET", "?session")],
)
def test_method_that_is_none_of_a_bucket(world: World, bucket: str, method: str, query: str) -> None:
    assert send(world, "GET", f"/{bucket}").status_code == 200
    assert send(world, method, f"/{bucket}{query}").status_code == 405
    assert send(world, "GET", f"/{bucket}").status_code == 200


# --- signatures ----------------------------------------------------------------------------------------------------


def test_older_and_other_signatures(world: World, bucket: str) -> None:
    assert send(world, "GET", f"/{bucket}").status_code == 200
    url = f"{world.sandbox.endpoint}/{bucket}/raw/present"
    please = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    v2 = world.client("s3", config=Config(signature_version="s3")).generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "raw/present"}
    )
    cases = {
        "SigV2 header": httpx2.get(url, headers={"Authorization": "AWS AKIAIOSFODNN7EXAMPLE:c2ln"}, trust_env=False),
        "SigV2 query": httpx2.get(v2, trust_env=False),
        "SigV4a": httpx2.get(
            url,
            headers={
                "Authorization": "AWS4-ECDSA-P256-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20300101/s3/aws4_request, SignedHeaders=host, Signature=00"
            },
            trust_env=False,
        ),
    }
    for name, answer in cases.items():
        assert (answer.status_code, refused(answer), please in answer.text) == (400, "InvalidRequest", True), name
    basic = httpx2.get(url, headers={"Authorization": "Basic eDp5"}, trust_env=False)
    assert (basic.status_code, refused(basic)) == (400, "InvalidArgument")


def test_two_signatures_at_once(world: World, bucket: str) -> None:
    s3 = world.client("s3", config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "raw/present"})
    assert httpx2.get(url, trust_env=False).status_code == 200
    answer = httpx2.get(url, headers={"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, trust_env=False)
    assert (answer.status_code, refused(answer)) == (400, "InvalidArgument")


@pytest.mark.parametrize("operation", ["get_object", "head_object", "put_object", "delete_object"])
def test_presigned_urls_of_each_method(world: World, bucket: str, operation: str) -> None:
    s3 = world.client("s3", config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "raw/present"}, ExpiresIn=60)
    method = operation.partition("_")[0].upper()
    other = "DELETE" if method == "GET" else "GET"
    assert httpx2.request(other, url, trust_env=False).status_code == 403
    answer = httpx2.request(method, url, content=b"new" if method == "PUT" else None, trust_env=False)
    assert answer.status_code == (204 if method == "DELETE" else 200)
    if method == "PUT":
        assert world.client("s3").get_object(Bucket=bucket, Key="raw/present")["Body"].read() == b"new"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("X-Amz-Expires=60", "X-Amz-Expires=604801"), "AuthorizationQueryParametersError"),
        (("X-Amz-Expires=60", "X-Amz-Expires=-1"), "AuthorizationQueryParametersError"),
        (("X-Amz-Expires=60", "X-Amz-Expires=3600"), "SignatureDoesNotMatch"),
        (("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=range"), "AuthorizationQueryParametersError"),
        (("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "AuthorizationQueryParametersError"),
        (("%2Fs3%2Faws4_request", "%2Fs3"), "AuthorizationQueryParametersError"),
        (("X-Amz-Signature=", "X-Amz-Other="), "AuthorizationQueryParametersError"),
    ],
)
def test_presigned_url_that_was_changed(world: World, bucket: str, change: tuple[str, str], code: str) -> None:
    s3 = world.client("s3", config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "raw/present"}, ExpiresIn=60)
    assert httpx2.get(url, trust_env=False).status_code == 200
    assert change[0] in url
    assert refused(httpx2.get(url.replace(*change), trust_env=False)) == code


@pytest.mark.parametrize("host", ["s3.eu-west-1.amazonaws.com", "{}.s3.eu-west-1.amazonaws.com"])
def test_name_of_a_region_takes_what_is_signed_for_it(world: World, bucket: str, host: str) -> None:
    path = "/raw/present" if "{}" in host else f"/{bucket}/raw/present"
    assert send(world, "GET", path, host=host.format(bucket)).status_code == 200
    answer = send(world, "GET", path, host=host.format(bucket), region="us-east-1")
    assert (answer.status_code, refused(answer)) == (400, "AuthorizationHeaderMalformed")
    assert "the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message><Region>eu-west-1</Region>" in answer.text
    # The sandbox's own names are of no region.
    assert send(world, "GET", f"/{bucket}/raw/present", region="us-east-1").status_code == 200


def test_presigned_url_of_another_region(world: World, bucket: str) -> None:
    def open_signed_for(region: str) -> httpx2.Response:
        host = f"s3.eu-west-1.amazonaws.com:{urlsplit(world.sandbox.endpoint).port}"
        path = f"/{bucket}/raw/present"
        request = AWSRequest(method="GET", url=f"http://{host}{path}", headers={"Host": host})
        admin = world.sandbox.admin_key
        S3SigV4QueryAuth(Credentials(admin.access_key, admin.secret), "s3", region, expires=60).add_auth(request)
        query = urlsplit(request.url).query
        return httpx2.get(f"{world.sandbox.endpoint}{path}?{query}", headers={"Host": host}, trust_env=False)

    assert open_signed_for("eu-west-1").status_code == 200
    answer = open_signed_for("us-east-1")
    assert (answer.status_code, refused(answer)) == (400, "AuthorizationQueryParametersError")
    assert "Error parsing the X-Amz-Credential parameter; the region 'us-east-1' is wrong" in answer.text


def test_session_without_and_with_another_token(world: World, bucket: str) -> None:
    world.role("tokens-on-the-wire", {"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    found = world.session("tokens-on-the-wire")
    key = (found["AccessKeyId"], found["SecretAccessKey"])
    assert send(world, "GET", f"/{bucket}", key=(*key, found["SessionToken"])).status_code == 200
    missing = send(world, "GET", f"/{bucket}", key=(*key, None))
    assert (missing.status_code, refused(missing)) == (403, "InvalidAccessKeyId")
    wrong = send(world, "GET", f"/{bucket}", key=(*key, "other"))
    assert (wrong.status_code, refused(wrong)) == (400, "InvalidToken")
    admin = world.sandbox.admin_key
    added = send(world, "GET", f"/{bucket}", key=(admin.access_key, admin.secret, "token"))
    assert (added.status_code, refused(added)) == (400, "InvalidToken")


def test_headers_that_are_moved_into_the_query_count_as_headers(world: World, bucket: str) -> None:
    """SDKs of other languages hoist x-amz-* headers of a presigned URL; a tag set that way needs the permission to tag."""
    admin = world.sandbox.admin_key
    for name, statement, status in (
        ("hoist-both", {"Effect": "Allow", "Action": ["s3:PutObject", "s3:PutObjectTagging"], "Resource": "*"}, 200),
        ("hoist-one", {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}, 403),
    ):
        world.role(name, statement)
        found = world.session(name)
        answer = httpx2.put(
            _presigned(world, "PUT", f"/{bucket}/hoisted", found, {"x-amz-tagging": "a=b"}),
            content=b"x",
            trust_env=False,
        )
        assert answer.status_code == status, answer.text
    tags = world.client("s3").get_object_tagging(Bucket=bucket, Key="hoisted")["TagSet"]
    assert tags == [{"Key": "a", "Value": "b"}]
    assert admin


def _presigned(world: World, method: str, path: str, found: dict[str, str], query: dict[str, str]) -> str:
    now = datetime.now(UTC)
    arguments = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{found['AccessKeyId']}/{now:%Y%m%d}/eu-west-1/s3/aws4_request",
        "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
        "X-Amz-Expires": "60",
        "X-Amz-Security-Token": found["SessionToken"],
        "X-Amz-SignedHeaders": "host",
        **query,
    }
    text = str(httpx2.QueryParams(arguments)).replace("+", "%20")
    host = urlsplit(world.sandbox.endpoint).netloc
    request = Request(method=method, path=path, query=f"{text}&X-Amz-Signature={'0' * 64}", headers={"host": host})
    scope = sigv4.parse(request)
    assert scope is not None
    signature = signatures.signature(
        found["SecretAccessKey"], scope, signatures.canonical_request(request, scope, "UNSIGNED-PAYLOAD")
    )
    return f"{world.sandbox.endpoint}{path}?{text}&X-Amz-Signature={signature}"


@pytest.mark.parametrize(
    ("payload", "sent", "code"),
    [
        (EMPTY, b"x", "XAmzContentSHA256Mismatch"),
        ("0" * 63, b"", "InvalidArgument"),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", b"", "InvalidRequest"),
        ("STREAMING-AWS4-HMAC-SHA256-EVENTS", b"", "InvalidArgument"),
    ],
)
def test_what_a_signature_says_of_the_body(world: World, bucket: str, payload: str, sent: bytes, code: str) -> None:
    assert send(world, "PUT", f"/{bucket}/k", b"").status_code == 200
    assert send(world, "PUT", f"/{bucket}/k", b"", payload="UNSIGNED-PAYLOAD", sent=b"whatever").status_code == 200
    assert refused(send(world, "PUT", f"/{bucket}/k", payload=payload, sent=sent)) == code


@pytest.mark.parametrize(("minutes", "status"), [(14, 200), (-14, 200), (16, 403), (-16, 403)])
def test_fifteen_minutes_of_skew(
    world: World, bucket: str, monkeypatch: pytest.MonkeyPatch, minutes: int, status: int
) -> None:
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))
    answer = send(world, "GET", f"/{bucket}")
    assert answer.status_code == status
    assert status == 200 or refused(answer) == "RequestTimeTooSkewed"


# --- digests -------------------------------------------------------------------------------------------------------


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content_MD5": _base64(hashlib.md5(b"other").digest())}, "BadDigest"),
        ({"Content_MD5": "not base64"}, "InvalidDigest"),
        ({"Content_MD5": "AAAA"}, "InvalidDigest"),
        ({"x_amz_checksum_crc32": _base64(zlib.crc32(b"other").to_bytes(4, "big"))}, "BadDigest"),
        ({"x_amz_checksum_sha256": _base64(hashlib.sha256(b"other").digest())}, "BadDigest"),
        ({"x_amz_checksum_sha256": "AAAA"}, "InvalidRequest"),
        ({"x_amz_checksum_crc32": "DUoRhQ==", "x_amz_checksum_sha1": _base64(hashlib.sha1(b"x").digest())}, "InvalidRequest"),
        ({"x_amz_checksum_xxhash64": "AAAAAAAAAAA="}, "NotImplemented"),
    ],
    ids=str,
)  # fmt: skip
def test_digest_of_the_body(world: World, bucket: str, headers: dict[str, str], code: str) -> None:
    good = {
        "Content_MD5": _base64(hashlib.md5(b"content").digest()),
        "x_amz_checksum_crc32": _base64(zlib.crc32(b"content").to_bytes(4, "big")),
    }
    assert send(world, "PUT", f"/{bucket}/digest", b"content", **good).status_code == 200
    assert refused(send(world, "PUT", f"/{bucket}/digest", b"CONTENT", **headers)) == code
    assert world.client("s3").get_object(Bucket=bucket, Key="digest")["Body"].read() == b"content"


def test_delete_objects_needs_a_digest(world: World, bucket: str) -> None:
    body = b"<Delete><Object><Key>raw/absent</Key></Object></Delete>"
    digest = _base64(hashlib.md5(body).digest())
    assert send(world, "POST", f"/{bucket}?delete", body, Content_MD5=digest).status_code == 200
    assert refused(send(world, "POST", f"/{bucket}?delete", body)) == "InvalidRequest"
    for bad in (
        b"<Delete/>",
        b"<Delete><Object/></Delete>",
        b"nonsense",
        b'<!DOCTYPE d [<!ENTITY e "x">]><Delete>&e;</Delete>',
    ):
        answer = send(world, "POST", f"/{bucket}?delete", bad, Content_MD5=_base64(hashlib.md5(bad).digest()))
        assert (answer.status_code, refused(answer)) == (400, "MalformedXML")


# --- streamed bodies -----------------------------------------------------------------------------------------------

CRC32 = "x-amz-checksum-crc32"


def chunks(content: bytes, size: int = 65_536) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def unsigned_stream(content: bytes, checksum: str | None = None) -> bytes:
    parts = [f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in chunks(content)]
    value = checksum or _base64(zlib.crc32(content).to_bytes(4, "big"))
    return b"".join([*parts, f"0\r\n{CRC32}:{value}\r\n\r\n".encode()])


def send_unsigned(world: World, path: str, content: bytes, sent: bytes, **headers: str) -> httpx2.Response:
    return send(
        world, "PUT", path, payload=streams.UNSIGNED_TRAILER, sent=sent,
        **{"Content_Encoding": "aws-chunked", "x_amz_decoded_content_length": str(len(content)), "x_amz_trailer": CRC32, **headers},
    )  # fmt: skip


def send_signed(
    world: World, path: str, content: bytes, *, trailer: bool, tamper: Callable[[bytes], bytes] = bytes
) -> httpx2.Response:
    """A PUT signed chunk by chunk, as the Java SDK does it."""
    admin = world.sandbox.admin_key
    mode = streams.SIGNED_TRAILER if trailer else streams.SIGNED
    netloc = urlsplit(world.sandbox.endpoint).netloc
    request = AWSRequest(
        method="PUT",
        url=world.sandbox.endpoint + path,
        headers={
            "Host": netloc,
            "Content-Encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(content)),
            "X-Amz-Content-SHA256": mode,
            **({"x-amz-trailer": CRC32} if trailer else {}),
        },
    )
    auth = S3SigV4Auth(Credentials(admin.access_key, admin.secret), "s3", "eu-west-1")
    auth.payload = lambda _request: mode  # type: ignore[method-assign]
    auth.add_auth(request)
    wire = {name.lower(): value for name, value in request.headers.items()}
    scope = sigv4.parse(Request(method="PUT", path=path, headers=wire))
    assert scope is not None
    signer = signatures.chunk_signer(scope, admin.secret)
    previous, body = signer.seed, b""
    for part in (*chunks(content), b""):
        previous = signer.chunk(previous, hashlib.sha256(part).hexdigest())
        body += f"{len(part):x};chunk-signature={previous}\r\n".encode() + part + (b"\r\n" if part else b"")
    if trailer:
        line = f"{CRC32}:{_base64(zlib.crc32(content).to_bytes(4, 'big'))}\n"
        signature = signer.trailer(previous, hashlib.sha256(line.encode()).hexdigest())
        body += line.replace("\n", "\r\n").encode() + f"x-amz-trailer-signature:{signature}\r\n".encode()
    return httpx2.put(
        world.sandbox.endpoint + path, headers=wire, content=tamper(body + b"\r\n"), trust_env=False, timeout=30
    )


@pytest.mark.parametrize("size", [0, 1, 8_192, 65_536, 65_537, 300_000, 17 * 1024 * 1024])
def test_streamed_content_arrives_as_it_was_meant(world: World, bucket: str, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    s3 = world.client("s3")
    for name, answer in (
        ("unsigned", send_unsigned(world, f"/{bucket}/unsigned", content, unsigned_stream(content))),
        ("signed", send_signed(world, f"/{bucket}/signed", content, trailer=False)),
        ("trailer", send_signed(world, f"/{bucket}/trailer", content, trailer=True)),
    ):
        assert answer.status_code == 200, (name, answer.text)
        found = s3.get_object(Bucket=bucket, Key=name)
        assert found["Body"].read() == content, name
        assert "ContentEncoding" not in found
        assert found["ContentLength"] == size


@pytest.mark.parametrize("trailer", [True, False])
def test_streamed_content_that_was_changed(world: World, bucket: str, trailer: bool) -> None:
    content = b"a" * 100_000
    path = f"/{bucket}/kept"
    assert send_signed(world, path, content, trailer=trailer).status_code == 200
    cases: list[tuple[Callable[[bytes], bytes], str]] = [
        (lambda body: body.replace(b"aaaa", b"aaab", 1), "SignatureDoesNotMatch"),
        (lambda body: body[:70_000], "IncompleteBody"),
        (lambda body: body[: body.index(b"0;chunk-signature")] + b"0\r\n\r\n", "IncompleteBody"),
    ]
    for tamper, code in cases:
        assert refused(send_signed(world, path, content, trailer=trailer, tamper=tamper)) == code
    assert world.client("s3").get_object(Bucket=bucket, Key="kept")["Body"].read() == content


@pytest.mark.parametrize(
    ("sent", "headers", "code"),
    [
        (unsigned_stream(b"content", "AAAAAA=="), {}, "BadDigest"),
        (unsigned_stream(b"CONTENT").replace(b"CONTENT", b"content"), {}, "BadDigest"),
        (unsigned_stream(b"content")[:-20], {}, "MalformedTrailerError"),
        (b"7\r\ncontent\r\n0\r\n\r\n", {}, "MalformedTrailerError"),
        (unsigned_stream(b"content"), {"x_amz_decoded_content_length": "8"}, "IncompleteBody"),
        (unsigned_stream(b"content"), {"x_amz_trailer": "x-amz-checksum-sha1"}, "MalformedTrailerError"),
        (b"content", {}, "IncompleteBody"),
    ],
)
def test_unsigned_stream_with_a_trailing_checksum(
    world: World, bucket: str, sent: bytes, headers: dict[str, str], code: str
) -> None:
    assert send_unsigned(world, f"/{bucket}/kept", b"content", unsigned_stream(b"content")).status_code == 200
    assert refused(send_unsigned(world, f"/{bucket}/kept", b"content", sent, **headers)) == code
    assert world.client("s3").get_object(Bucket=bucket, Key="kept")["Body"].read() == b"content"


def test_chunks_nobody_announced(world: World, bucket: str) -> None:
    """aws-chunked without a streaming x-amz-content-sha256 would be stored with its framing."""
    body = unsigned_stream(b"content")
    answer = send(world, "PUT", f"/{bucket}/k", body, Content_Encoding="aws-chunked")
    assert (answer.status_code, refused(answer)) == (400, "InvalidRequest")


def test_length_is_told_beforehand(world: World, bucket: str) -> None:
    headers = {**_signed_put(world, bucket), "Host": urlsplit(world.sandbox.endpoint).netloc}
    assert _raw(world, bucket, {**headers, "Content-Length": "7"}, b"content") == 200
    assert _raw(world, bucket, headers, b"") == 411
    assert _raw(world, bucket, {**headers, "Transfer-Encoding": "chunked"}, b"7\r\ncontent\r\n0\r\n\r\n") == 501


def _signed_put(world: World, bucket: str) -> dict[str, str]:
    admin = world.sandbox.admin_key
    url = f"{world.sandbox.endpoint}/{bucket}/raw/length"
    request = AWSRequest(method="PUT", url=url, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    auth = S3SigV4Auth(Credentials(admin.access_key, admin.secret), "s3", "eu-west-1")
    auth.payload = lambda _request: "UNSIGNED-PAYLOAD"  # type: ignore[method-assign]
    auth.add_auth(request)
    return {name: value for name, value in request.headers.items()}  # noqa: C416 - HTTPHeaders is no dict


def _raw(world: World, bucket: str, headers: dict[str, str], body: bytes) -> int:
    """One request written by hand, since every HTTP client adds a length; gives the status."""
    base = urlsplit(world.sandbox.endpoint)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((base.hostname, base.port), timeout=10) as connection:
        connection.sendall(f"PUT /{bucket}/raw/length HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode() + body)
        return int(connection.recv(4096).split(b" ", 2)[1])


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_boto3_with_each_checksum_it_computes(world: World, bucket: str, algorithm: str) -> None:
    s3 = world.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", ChecksumAlgorithm=algorithm)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"


@pytest.mark.parametrize(("algorithm", "value"), [("crc32c", "wdBDMA=="), ("crc64nvme", None)])
def test_checksums_of_other_sdks(world: World, bucket: str, algorithm: str, value: str | None) -> None:
    """The aws CLI v2 and the SDK for JavaScript send these; botocore computes them only with awscrt."""
    content = b"content"
    checksum = checksums.new(algorithm)
    checksum.update(content)
    good = {f"x_amz_checksum_{algorithm}": _base64(checksum.digest())}
    assert send(world, "PUT", f"/{bucket}/k", content, **good).status_code == 200
    wrong = {f"x_amz_checksum_{algorithm}": value or _base64(bytes(8))}
    assert refused(send(world, "PUT", f"/{bucket}/k", content, **wrong)) == "BadDigest"
