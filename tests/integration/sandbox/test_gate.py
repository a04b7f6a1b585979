"""The gate's own safety: who gets in at all, by which name, and what of the emulator can be reached."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import httpx2
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from .conftest import World

Code = Callable[[Callable[[], Any]], str]


def http(world: World, method: str, path: str, **more: Any) -> httpx2.Response:
    return httpx2.request(method, world.sandbox.endpoint + path, trust_env=False, timeout=10, **more)


def signed(
    world: World,
    method: str,
    path: str,
    *,
    service: str = "s3",
    body: bytes = b"",
    key: tuple[str, str] | None = None,
    **headers: str,
) -> dict[str, str]:
    """Headers of a request signed by botocore as the administrator."""
    admin = world.sandbox.admin_key
    credentials = Credentials(*(key or (admin.access_key, admin.secret)))
    request = AWSRequest(
        method=method,
        url=world.sandbox.endpoint + path,
        data=body,
        headers={"Host": urlsplit(world.sandbox.endpoint).netloc, **headers},
    )
    if service == "s3":
        request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, "eu-west-1").add_auth(request)
    return {name: value for name, value in request.headers.items()}  # noqa: C416 - HTTPHeaders is no dict


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "amazonaws.com.evil.example", ""]
)
def test_name_that_is_not_ours_is_refused(world: World, host: str) -> None:
    """DNS rebinding: a page whose name resolves to this address sends its own name."""
    assert http(world, "GET", "/.towpath/issuers/" + world.cluster.identifier + "/keys").status_code == 200
    for path in ("/", "/.towpath/calls", "/.towpath/issuers/" + world.cluster.identifier + "/keys"):
        assert http(world, "GET", path, headers={"Host": host}).status_code == 421


def test_aws_names_are_ours(world: World) -> None:
    answer = http(world, "GET", "/", headers={"Host": "s3.eu-west-1.amazonaws.com"})
    assert answer.status_code == 403
    assert "<Code>AccessDenied</Code>" in answer.text


def test_it_listens_on_loopback_only(world: World) -> None:
    port = urlsplit(world.sandbox.endpoint).port
    others = [
        item[4][0]
        for item in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not str(item[4][0]).startswith("127.")
    ]
    for address in others:
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((str(address), port)) != 0


# --- the emulator's own interface ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/moto-api/",
        "/moto-api/data.json",
        "/moto-api/reset",
        "/MOTO-API/reset",
        "/%6doto-api/reset",
        "/latest/meta-data/iam/security-credentials/",
        "/favicon.ico",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_emulators_interface_is_closed_even_to_the_administrator(world: World, method: str, path: str) -> None:
    assert http(world, "GET", "/", headers=signed(world, "GET", "/")).status_code == 200
    unsigned = http(world, method, path)
    assert unsigned.status_code in {400, 403, 404, 405}
    answer = http(world, method, path, headers=signed(world, method, path))
    assert answer.status_code in {400, 403, 404, 405}
    assert "moto" not in answer.text.lower().replace("moto-api", "")


def test_account_header_of_the_emulator_is_not_believed(world: World, bucket: str) -> None:
    headers = signed(world, "GET", f"/{bucket}", **{"x-moto-account-id": "999999999999"})
    assert http(world, "GET", f"/{bucket}", headers=headers).status_code == 200


def test_no_page_is_invited_to_read(world: World) -> None:
    answer = http(world, "GET", "/", headers={**signed(world, "GET", "/"), "Origin": "https://evil.example"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


# --- the sandbox's own interface -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/calls"),
        ("POST", "/token"),
        ("GET", "/faults"),
        ("POST", "/faults"),
        ("DELETE", "/faults"),
        ("POST", "/reset"),
        ("GET", "/clusters/sandbox/namespaces/data/serviceaccounts/x"),
        ("PATCH", "/clusters/sandbox/namespaces/data/serviceaccounts/x"),
    ],
)
@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic eDp4"])
def test_own_interface_needs_the_secret_of_this_run(
    world: World, method: str, path: str, authorization: str | None
) -> None:
    good = http(world, "GET", "/.towpath/calls", headers={"Authorization": f"Bearer {world.sandbox.secret}"})
    assert good.status_code == 200
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = http(world, method, "/.towpath" + path, headers=headers, json={} if method != "GET" else None)
    assert answer.status_code == 401
    assert "token" not in answer.json()


def test_secrets_are_in_no_call_record(world: World, bucket: str) -> None:
    world.role("recorded", {"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    token = world.token()
    session = world.exchange(token, "recorded")["Credentials"]
    world.client("s3", session).list_objects_v2(Bucket=bucket)
    text = json.dumps(world.sandbox.record.as_json())
    for secret in (
        token,
        session["SecretAccessKey"],
        session["SessionToken"],
        world.sandbox.secret,
        world.sandbox.admin_key.secret,
    ):
        assert secret not in text


# --- signatures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["iam", "sts", "eks"])
def test_wrong_secret_and_unknown_key(world: World, code: Code, service: str) -> None:
    operation = {"iam": "list_roles", "sts": "get_caller_identity", "eks": "list_clusters"}[service]
    assert getattr(world.client(service), operation)()
    admin = world.sandbox.admin_key
    for key, expected in (
        ((admin.access_key, "wrong" * 8), "SignatureDoesNotMatch"),
        (("AKIA" + "A" * 16, admin.secret), "InvalidClientTokenId"),
    ):
        client: Any = botocore.session.Session().create_client(
            service,
            endpoint_url=world.sandbox.endpoint,
            region_name="eu-west-1",
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
        )
        assert code(getattr(client, operation)).startswith(expected)


def test_s3_signature_words(world: World, bucket: str) -> None:
    path = f"/{bucket}?list-type=2"
    good = signed(world, "GET", path)
    assert http(world, "GET", path, headers=good).status_code == 200
    cases: dict[str, tuple[dict[str, str], str]] = {
        "tampered signature": (
            {**good, "Authorization": good["Authorization"][:-1] + ("0" if good["Authorization"][-1] != "0" else "1")},
            "SignatureDoesNotMatch",
        ),
        "another algorithm": (
            {**good, "Authorization": good["Authorization"].replace("HMAC-SHA256", "HMAC-SHA1", 1)},
            "InvalidArgument",
        ),
        "no signed headers": (
            {**good, "Authorization": good["Authorization"].replace("SignedHeaders=", "Signed=")},
            "AuthorizationHeaderMalformed",
        ),
        "a header added on the way": ({**good, "x-amz-acl": "public-read"}, "AccessDenied"),
        "unsigned": ({}, "AccessDenied"),
    }
    for name, (headers, expected) in cases.items():
        answer = http(world, "GET", path, headers=headers)
        assert f"<Code>{expected}</Code>" in answer.text, name
        assert answer.status_code in {400, 403}, name
    assert (
        "<Code>SignatureDoesNotMatch</Code>"
        in http(world, "GET", f"/{bucket}?list-type=2&prefix=other", headers=good).text
    )
    assert "<Code>SignatureDoesNotMatch</Code>" in http(world, "DELETE", f"/{bucket}?list-type=2", headers=good).text


def test_body_that_was_changed_on_the_way(world: World, bucket: str) -> None:
    path = f"/{bucket}/raw/body"
    headers = signed(world, "PUT", path, body=b"right")
    assert http(world, "PUT", path, headers=headers, content=b"right").status_code == 200
    answer = http(world, "PUT", path, headers=headers, content=b"wrong")
    assert "XAmzContentSHA256Mismatch" in answer.text
    assert world.client("s3").get_object(Bucket=bucket, Key="raw/body")["Body"].read() == b"right"


@pytest.mark.parametrize(("hours", "status"), [(0, 200), (1, 403), (-1, 403)])
def test_clock_skew(world: World, bucket: str, monkeypatch: pytest.MonkeyPatch, hours: int, status: int) -> None:
    moment = datetime.now(UTC) + timedelta(hours=hours)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))
    answer = http(world, "GET", f"/{bucket}", headers=signed(world, "GET", f"/{bucket}"))
    assert answer.status_code == status
    if status == 403:
        assert "RequestTimeTooSkewed" in answer.text


def test_presigned_url_works_until_it_expires_and_only_as_signed(world: World, bucket: str) -> None:
    s3 = world.client("s3", config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "raw/present"}, ExpiresIn=60)
    assert httpx2.get(url, trust_env=False).content == b"here"
    assert httpx2.put(url, content=b"x", trust_env=False).status_code == 403
    assert httpx2.get(url.replace("raw/present", "raw/other"), trust_env=False).status_code == 403
    gone = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "raw/present"}, ExpiresIn=0)
    answer = httpx2.get(gone, trust_env=False)
    assert (answer.status_code, "Request has expired" in answer.text) == (403, True)


def test_keys_with_awkward_characters_are_signed_alike(world: World, bucket: str) -> None:
    s3 = world.client("s3")
    for key in ("a b", "a+b", "ü/ñ", "a%20b", "a//b", "a/../b", "~x", "a&b=c", "*", "日本"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", ())] == [key]


def test_session_token_is_part_of_the_key(world: World, code: Code, bucket: str) -> None:
    world.role("session-token", {"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    session = world.session("session-token")
    assert world.client("s3", session).list_objects_v2(Bucket=bucket)
    assert code(
        lambda: world.client("s3", {**session, "SessionToken": "other"}).list_objects_v2(Bucket=bucket)
    ).startswith("InvalidToken")
    assert code(lambda: world.client("sts", {**session, "SessionToken": "other"}).get_caller_identity()).startswith(
        "InvalidClientTokenId"
    )


def test_expired_session(world: World, code: Code, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.role("expiring", {"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    session = world.session("expiring", DurationSeconds=900)
    s3 = world.client("s3", session)
    assert s3.list_objects_v2(Bucket=bucket)
    key = world.sandbox._keys.find(session["AccessKeyId"])
    assert key is not None
    object.__setattr__(key, "expires_at", datetime.now(UTC) - timedelta(seconds=1))
    assert code(lambda: s3.list_objects_v2(Bucket=bucket)).startswith("ExpiredToken: The provided token has expired")
    assert code(lambda: world.client("sts", session).get_caller_identity()).startswith("ExpiredToken")


@pytest.mark.parametrize(
    ("method", "path", "headers", "content"),
    [
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded"}, b"Action=ListRoles&Version=2010-05-08"),
        ("POST", "/", {"x-amz-target": "DynamoDB_20120810.ListTables"}, b"{}"),
        ("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", {}, b""),
    ],
)
def test_unsigned_calls_of_other_services(
    world: World, method: str, path: str, headers: dict[str, str], content: bytes
) -> None:
    answer = http(world, method, path, headers=headers, content=content)
    assert answer.status_code == 403
    assert "MissingAuthenticationToken" in answer.text


def test_operation_nobody_knows(world: World) -> None:
    body = b"Action=DeleteEverything&Version=2010-05-08"
    headers = signed(
        world, "POST", "/", service="iam", body=body, **{"Content-Type": "application/x-www-form-urlencoded"}
    )
    answer = http(world, "POST", "/", headers=headers, content=body)
    assert (answer.status_code, "InvalidAction" in answer.text) == (400, True)


# --- EKS -----------------------------------------------------------------------------------------------------------


def test_each_cluster_has_an_issuer_and_keys_of_its_own(world: World, code: Code) -> None:
    eks = world.client("eks")
    made = eks.create_cluster(
        name="own-issuer", roleArn="arn:aws:iam::123456789012:role/x", resourcesVpcConfig={"subnetIds": []}
    )["cluster"]
    issuer = made["identity"]["oidc"]["issuer"]
    assert eks.describe_cluster(name="own-issuer")["cluster"]["identity"]["oidc"]["issuer"] == issuer
    assert issuer != eks.describe_cluster(name="sandbox")["cluster"]["identity"]["oidc"]["issuer"]
    other = world.sandbox.clusters.named("own-issuer")
    assert other is not None
    assert not {k["kid"] for k in other.issuer.jwks()["keys"]} & {k["kid"] for k in world.cluster.issuer.jwks()["keys"]}
    assert "sandbox" in eks.list_clusters()["clusters"]
    assert code(lambda: eks.describe_cluster(name="no-such")).startswith(
        "ResourceNotFoundException: No cluster found for name: no-such."
    )
    eks.delete_cluster(name="own-issuer")
    assert code(lambda: eks.describe_cluster(name="own-issuer")).startswith("ResourceNotFoundException")
    assert http(world, "GET", f"/.towpath/issuers/{other.identifier}/keys").status_code == 404


def test_discovery_is_public_and_exact(world: World) -> None:
    document = http(
        world, "GET", f"/.towpath/issuers/{world.cluster.identifier}/.well-known/openid-configuration"
    ).json()
    assert document["issuer"] == world.cluster.issuer_url
    keys = http(world, "GET", f"/.towpath/issuers/{world.cluster.identifier}/keys").json()
    assert keys["keys"]
    assert not {"d", "p", "q"} & set(keys["keys"][0])
