"""OIDC tokens at AssumeRoleWithWebIdentity: a token that is not letter for letter the issuer's own never gives credentials."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import given
from hypothesis import strategies as st

from towpath.sandbox.wire import Response

from .conftest import EVERYDAY, ROLE, Door, fuzzing
from .mutations import WIRE, spoiled
from .signing import plain

FORM = "application/x-www-form-urlencoded"


def exchange(door: Door, token: str, **more: str) -> Response:
    parameters = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "fuzzed",
        "WebIdentityToken": token,
        **more,
    }
    body = urlencode(parameters, quote_via=quote, errors="replace").encode()
    return door.knock(plain("POST", "/", headers={"content-type": FORM}, body=body))


def gives_credentials(response: Response) -> bool:
    return response.status == 200 or b"<SecretAccessKey>" in response.read()


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, payload, signature = token.split(".")

    def read(text: str) -> dict[str, Any]:
        return json.loads(base64.urlsafe_b64decode(text + "=="))

    return read(header), read(payload), signature


def test_the_token_itself_is_let_in(door: Door) -> None:
    assert gives_credentials(exchange(door, door.token))


@EVERYDAY
def test_a_token_changed_in_any_place(door: Door, examples: int) -> None:
    def check(token: str) -> None:
        if token == door.token:
            return
        let_in = gives_credentials(exchange(door, token))
        assert not let_in

    fuzzing(examples)(given(spoiled(door.token))(check))()


def test_a_token_with_each_of_its_characters_changed(door: Door) -> None:
    """The last character of a part holds bits that no byte needs; they count too."""
    let_in = [
        (at, other)
        for at, char in enumerate(door.token)
        for other in sorted({"A", "B", chr(ord(char) ^ 1), chr(ord(char) ^ 2)} - {char})
        if gives_credentials(exchange(door, door.token[:at] + other + door.token[at + 1 :]))
    ]
    assert let_in == []


@EVERYDAY
def test_a_header_and_claims_of_the_senders_own(door: Door, examples: int) -> None:
    header, payload, signature = opened(door.token)
    value = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.text(max_size=4), max_size=2),
        st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        st.sampled_from(["none", "None", "HS256", "RS256", "ES256", "system:serviceaccount:data:hd-job-sa", "9" * 4000, "../../x"]),
    )  # fmt: skip
    headers = st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "jku", "jwk", "x5u", "b64", "zip", "enc"]), value, max_size=3
    )
    claims = st.dictionaries(
        st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "kubernetes.io"]), value, max_size=3
    )

    def check(changed: dict[str, Any], claimed: dict[str, Any], seal: str) -> None:
        start = f"{part({**header, **changed})}.{part({**payload, **claimed})}"
        digest = hmac.new(str(header.get("kid", "")).encode(), start.encode(), hashlib.sha256).digest()
        token = f"{start}.{({'own': part(digest), 'none': ''}).get(seal, signature)}"
        if token != door.token:
            assert not gives_credentials(exchange(door, token))

    fuzzing(examples)(given(headers, claims, st.sampled_from(["same", "own", "none"]))(check))()


@EVERYDAY
def test_any_text_for_a_token(door: Door, examples: int) -> None:
    json_part = st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b'{"alg":"RS256","alg":"none"}', b'"\\ud800"', b"{}", b"null"]
        ),
    ).map(part)
    token = st.one_of(
        st.text(max_size=60), st.lists(json_part, min_size=1, max_size=5).map(".".join), st.just("a." * 9000)
    )

    def check(text: str) -> None:
        assert not gives_credentials(exchange(door, text))

    fuzzing(examples)(given(token)(check))()


@EVERYDAY
def test_the_other_parameters(door: Door, examples: int) -> None:
    """Whatever else the form says, credentials come for this role only."""
    names = st.sampled_from(
        [
            "RoleArn",
            "RoleSessionName",
            "DurationSeconds",
            "Policy",
            "PolicyArns.member.1.arn",
            "ProviderId",
            "Version",
            "Tags.member.1.Key",
        ]
    )
    text = st.one_of(
        st.text(max_size=20),
        WIRE,
        spoiled(ROLE),
        st.sampled_from(
            ["3600", "900", "43200", "1e3", "٣٦٠٠", "[" * 1500, "9" * 2000, "\ud800", "a" * 3000, '{"Statement":[]}']
        ),
    )

    def check(changes: dict[str, str]) -> None:
        response = exchange(door, door.token, **changes)
        if gives_credentials(response):
            assert changes.get("RoleArn", ROLE) == ROLE
            assert b"assumed-role/fuzzed/" in response.read()

    fuzzing(examples)(given(st.dictionaries(names, text, min_size=1, max_size=3))(check))()
