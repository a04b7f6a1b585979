"""AssumeRoleWithWebIdentity: of thirteen tokens one is let in; each of the others differs from it in one thing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .conftest import AUDIENCE, World, role_arn

Code = Callable[[Callable[[], Any]], str]


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def forge(header: dict[str, Any], payload: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token made without any library of ours, so that what it gets wrong is exactly what the test says."""
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{text}.{b64(sign(text.encode()))}"


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in (head, body))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def role(world: World) -> str:
    world.role("exchange")
    return "exchange"


def test_good_token_is_let_in_and_named(world: World, role: str) -> None:
    answer = world.exchange(world.token(), role)
    assert answer["SubjectFromWebIdentityToken"] == "system:serviceaccount:data:hd-job-sa"
    assert answer["Audience"] == AUDIENCE
    assert answer["Provider"] == f"arn:aws:iam::123456789012:oidc-provider/{world.issuer_host}"
    who = world.client("sts", answer["Credentials"]).get_caller_identity()
    assert who["Arn"] == "arn:aws:sts::123456789012:assumed-role/exchange/test"
    assert who["Account"] == "123456789012"
    assert who["UserId"].endswith(":test")
    assert re.fullmatch(r"https://oidc\.eks\.eu-west-1\.amazonaws\.com/id/[0-9A-F]{32}", world.cluster.issuer_url)


def _tokens(world: World) -> dict[str, tuple[str, str]]:
    """Case -> token, the code and text AWS answers with (a prefix)."""
    good = world.token()
    header, payload = parts(good)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def rs256(key: rsa.RSAPrivateKey) -> Callable[[bytes], bytes]:
        return lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA256())

    jwk = next(k for k in world.cluster.issuer.jwks()["keys"] if k["kid"] == header["kid"])
    number = lambda text: int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))  # noqa: E731
    public = rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head, body, signature = good.split(".")
    changed = b64(json.dumps(payload | {"sub": "system:serviceaccount:data:admin"}).encode())
    other = payload | {"iss": "https://oidc.eks.eu-west-1.amazonaws.com/id/" + "0" * 32}
    late = payload | {"nbf": int(time.time()) + 3000}
    return {
        "garbage": ("not.a.token", "InvalidIdentityToken: The ID Token provided is not a valid JWT"),
        "alg none": (forge({"alg": "none", "typ": "JWT"}, payload, lambda _: b""), "InvalidIdentityToken: "),
        "HS256 with the public key": (
            forge(
                {"alg": "HS256", "kid": header["kid"]},
                payload,
                lambda text: hmac.new(pem, text, hashlib.sha256).digest(),
            ),
            "InvalidIdentityToken: ",
        ),
        "unknown kid": (
            forge(header | {"kid": "nobody"}, payload, rs256(stranger)),
            "InvalidIdentityToken: Couldn't retrieve verification key from your identity provider",
        ),
        "another's signature under our kid": (forge(header, payload, rs256(stranger)), "InvalidIdentityToken: "),
        "other issuer": (
            forge(header, other, rs256(stranger)),
            f"InvalidIdentityToken: No OpenIDConnect provider found in your account for {other['iss']}",
        ),
        "wrong sub": (
            world.token(namespace="other"),
            "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity",
        ),
        "wrong aud": (
            world.token(audiences=["https://kubernetes.default.svc"]),
            "InvalidIdentityToken: Incorrect token audience",
        ),
        "expired": (world.token(expires_in=-60), "ExpiredTokenException: Token expired: current date/time"),
        "not yet valid": (world.cluster.issuer.issue(**_claims(late)), "InvalidIdentityToken: "),
        "tampered payload": (f"{head}.{changed}.{signature}", "InvalidIdentityToken: "),
        "signature cut off": (f"{head}.{body}.", "InvalidIdentityToken: "),
        "too long": (good + "A" * 20_000, "ValidationError: "),
        "empty": ("    ", "InvalidIdentityToken: "),
    }


def _claims(payload: dict[str, Any]) -> dict[str, Any]:
    """Arguments that make the issuer itself sign a token that begins an hour from now."""
    return {
        "namespace": "data",
        "service_account": "hd-job-sa",
        "audiences": [AUDIENCE],
        "expires_in": 7200,
        "uid": str(uuid.uuid4()),
        "now": float(payload["nbf"]),
    }


CASES = (
    "garbage",
    "alg none",
    "HS256 with the public key",
    "unknown kid",
    "another's signature under our kid",
    "other issuer",
    "wrong sub",
    "wrong aud",
    "expired",
    "not yet valid",
    "tampered payload",
    "signature cut off",
    "too long",
    "empty",
)


@pytest.mark.parametrize("case", CASES)
def test_token_is_refused_in_aws_words(world: World, role: str, code: Code, case: str) -> None:
    assert world.exchange(world.token(), role)["Credentials"]["AccessKeyId"].startswith("ASIA")
    token, expected = _tokens(world)[case]
    assert code(lambda: world.exchange(token, role)).startswith(expected)


def test_every_case_is_run(world: World) -> None:
    assert set(_tokens(world)) == set(CASES)


def test_missing_role_says_what_a_wrong_trust_says(world: World, role: str, code: Code) -> None:
    assert world.exchange(world.token(), role)
    assert (
        code(lambda: world.exchange(world.token(), "no-such-role"))
        == "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"
    )


def test_missing_provider(world: World, role: str, code: Code) -> None:
    eks = world.client("eks")
    eks.create_cluster(name="unregistered", roleArn=role_arn("x"), resourcesVpcConfig={})
    other = world.sandbox.clusters.named("unregistered")
    assert other is not None
    assert other.issuer_url != world.cluster.issuer_url
    token, _ = other.token("data", "hd-job-sa", audiences=None, expires_in=600)
    refusal = f"InvalidIdentityToken: No OpenIDConnect provider found in your account for {other.issuer_url}"
    assert code(lambda: world.exchange(token, role)) == refusal
    # Registered, the same token fails on trust instead; trusted, it is let in.
    iam = world.client("iam")
    iam.create_open_id_connect_provider(Url=other.issuer_url, ClientIDList=[AUDIENCE])
    assert code(lambda: world.exchange(token, role)).startswith("AccessDenied")
    world.role("other-cluster", trust=_trust_of(other.issuer_url))
    assert world.exchange(token, "other-cluster")["Credentials"]


def _trust_of(issuer: str) -> dict[str, Any]:
    host = issuer.removeprefix("https://")
    return {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{host}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {f"{host}:sub": "system:serviceaccount:data:hd-job-sa", f"{host}:aud": AUDIENCE}
            },
        },
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"DurationSeconds": 7200},
            "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
        ({"DurationSeconds": 899}, "ValidationError: "),
        ({"RoleArn": "arn:aws:iam::123456789012:policy/hd-orders-policy"}, "ValidationError: Request ARN is invalid"),
        ({"RoleArn": "hd-orders-with-more-characters"}, "ValidationError: Request ARN is invalid"),
        (
            {"RoleArn": "arn:aws:iam::999999999999:role/exchange"},
            "InvalidIdentityToken: No OpenIDConnect provider found in your account for",
        ),
    ],
)
def test_arguments_are_judged(world: World, role: str, code: Code, arguments: dict[str, Any], expected: str) -> None:
    assert world.exchange(world.token(), role)
    assert code(lambda: world.exchange(world.token(), role, **arguments)).startswith(expected)


def test_key_rotation_keeps_old_tokens_and_takes_new_ones(world: World, role: str, code: Code) -> None:
    time.sleep(1.1)  # the cases above may have used up this second's look for an unknown key
    before = world.token()
    old = parts(before)[0]["kid"]
    world.cluster.issuer.rotate()
    after = world.token()
    assert parts(after)[0]["kid"] != old
    assert world.exchange(before, role)
    assert world.exchange(after, role)


def test_unreachable_issuer_is_a_communication_error(world: World, role: str, code: Code) -> None:
    assert world.exchange(world.token(), role)
    url = "https://oidc.eks.eu-west-1.amazonaws.com/id/" + "F" * 32  # tests/conftest.py maps it to a closed port
    world.client("iam").create_open_id_connect_provider(Url=url, ClientIDList=[AUDIENCE])
    header, payload = parts(world.token())
    token = forge(header, payload | {"iss": url}, lambda _: b"x" * 256)
    assert code(lambda: world.exchange(token, role)).startswith("IDPCommunicationError: ")


def test_client_ids_change_while_tokens_are_exchanged(world: World, role: str) -> None:
    """The provider is made anew for it, and nobody may see it gone."""
    iam = world.client("iam")
    arn = f"arn:aws:iam::123456789012:oidc-provider/{world.issuer_host}"
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="other")
            iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="other")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(40):
            assert world.exchange(world.token(), role)["Credentials"]
            assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"]
    finally:
        stop.set()
        changing.join()
