"""Tokens: one is accepted; each that is refused differs from an accepted one in one thing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from towpath.oidc.errors import TokenCode, TokenError
from towpath.oidc.verify import LEEWAY, Claims, decode_unverified, service_account_of, verify

from .conftest import (
    AUDIENCE,
    ISSUER,
    NOW,
    Keys,
    b64,
    forge,
    good_payload,
    hs256,
    jwk_of,
    keyring,
    signer,
    unb64,
)

CLAIMS = json.loads((Path(__file__).parent / "cases" / "claims.json").read_text())
RS256 = {"alg": "RS256", "kid": "k1"}


def check(token: str, *jwks: Mapping[str, Any], **more: Any) -> Claims:
    arguments: dict[str, Any] = {"issuer": ISSUER, "audiences": {AUDIENCE}, "now": NOW, **more}
    return verify(token, keys=keyring(*jwks), **arguments)


def refused(token: str, *jwks: Mapping[str, Any], **more: Any) -> TokenError:
    with pytest.raises(TokenError) as caught:
        check(token, *jwks, **more)
    return caught.value


def test_good_token(keys: Keys) -> None:
    claims = check(keys.good(), keys.jwk)
    assert claims == Claims(
        issuer=ISSUER,
        subject="system:serviceaccount:data:hd-job-sa",
        audiences=(AUDIENCE,),
        expires_at=NOW + 3600,
        issued_at=NOW,
        not_before=NOW,
        jti="5b5e3f6e-7d2e-4a0c-9a44-1f8f1d1f1a11",
        raw=good_payload(),
    )
    assert service_account_of(claims) == ("data", "hd-job-sa", "u-1")


@pytest.mark.parametrize("case", CLAIMS, ids=lambda case: case["case"])
def test_claims(keys: Keys, case: dict[str, Any]) -> None:
    assert check(keys.good(), keys.jwk)
    error = refused(keys.good(**case["change"]), keys.jwk)
    assert (error.code, case["says"] in error.what) == (case["code"], True), error.what


@pytest.mark.parametrize(
    "change",
    [
        {"aud": AUDIENCE},
        {"aud": ["other", AUDIENCE]},
        {"exp": NOW + 0.5},
        {"nbf": None, "jti": None},
        {"nbf": NOW + LEEWAY, "iat": NOW + LEEWAY},  # the leeway is for these two, and inclusive
        {"exp": 253_402_300_799},
        {"sub": "ünïcode"},
    ],
    ids=str,
)
def test_unusual_claims_are_accepted(keys: Keys, change: dict[str, Any]) -> None:
    assert check(keys.good(**change), keys.jwk)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "9" * 4000])
def test_exp_that_is_no_time(keys: Keys, text: str) -> None:
    def token(exp: str) -> str:
        payload = json.dumps(good_payload()).replace(str(NOW + 3600), exp)
        return forge(RS256, payload.encode(), signer(keys.rsa, "RS256"))

    assert check(token("1800003600.25"), keys.jwk).expires_at == NOW + 3600.25
    assert refused(token(text), keys.jwk).code is TokenCode.MALFORMED


def test_audiences(keys: Keys) -> None:
    token = keys.good(aud=["other"])
    assert check(token, keys.jwk, audiences=None).audiences == ("other",)
    assert check(token, keys.jwk, audiences=["x", "other"])
    assert "accepted is nothing" in refused(token, keys.jwk, audiences=[]).what


def test_leeway_is_not_for_the_end(keys: Keys) -> None:
    assert check(keys.good(exp=NOW + 1), keys.jwk, leeway=60)
    assert refused(keys.good(exp=NOW), keys.jwk, leeway=60).code is TokenCode.EXPIRED
    assert check(keys.good(nbf=NOW + 1), keys.jwk, leeway=1)
    assert refused(keys.good(nbf=NOW + 1), keys.jwk, leeway=0).code is TokenCode.NOT_YET_VALID


def test_maximum_age(keys: Keys) -> None:
    token = keys.good(iat=NOW - 100)
    assert check(token, keys.jwk, max_age=100)
    error = refused(token, keys.jwk, max_age=99)
    assert error.code is TokenCode.TOO_OLD
    assert "100 s ago; 99 s are allowed" in error.what


def test_a_clock_that_is_no_number_accepts_nothing(keys: Keys) -> None:
    assert check(keys.good(), keys.jwk)
    assert refused(keys.good(), keys.jwk, now=float("nan")).code is TokenCode.EXPIRED


# --- algorithms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])
def test_the_six_algorithms(keys: Keys, algorithm: str) -> None:
    curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}.get(algorithm)
    key = keys.rsa if curve is None else keys.curves[curve]
    token = forge({"alg": algorithm, "kid": "k1"}, good_payload(), signer(key, algorithm))
    assert check(token, jwk_of(key, "k1"))
    assert check(token, jwk_of(key, "k1", alg=algorithm, use="sig", key_ops=["verify"]))
    head, body, signature = token.split(".")
    broken = bytearray(unb64(signature))
    broken[10] ^= 1
    assert refused(f"{head}.{body}.{b64(bytes(broken))}", jwk_of(key, "k1")).code is TokenCode.SIGNATURE


def test_algorithm_none(keys: Keys) -> None:
    assert check(keys.good(), keys.jwk)
    for name in ("none", "None", "NONE", "nOnE"):
        for signature in (b"", b"x" * 256):
            error = refused(forge({"alg": name, "kid": "k1"}, good_payload(), lambda _, s=signature: s), keys.jwk)
            assert error.code is TokenCode.ALGORITHM
            assert f"signed with '{name}'; only RS256" in error.what


@pytest.mark.parametrize("form", ["pem", "n", "jwk"])
def test_hs256_with_the_public_key(keys: Keys, form: str) -> None:
    assert check(keys.good(), keys.jwk)
    secret = {"pem": keys.pem, "n": unb64(keys.jwk["n"]), "jwk": json.dumps(keys.jwk).encode()}[form]
    token = forge({"alg": "HS256", "kid": "k1"}, good_payload(), hs256(secret))
    assert refused(token, keys.jwk).code is TokenCode.ALGORITHM
    # Calling it RS256, or publishing the secret as a symmetric key, does not help either.
    token = forge(RS256, good_payload(), hs256(secret))
    assert refused(token, keys.jwk).code is TokenCode.SIGNATURE
    assert refused(token, {"kty": "oct", "kid": "k1", "k": b64(secret)}).code is TokenCode.ALGORITHM


@pytest.mark.parametrize(
    ("alg", "says"),
    [(None, "None"), (["RS256"], "a list"), ({"a": 1}, "an object"), (256, "256"), ("PS256", "'PS256'"), ("", "''")],
)
def test_other_algorithms(keys: Keys, alg: object, says: str) -> None:
    assert check(keys.good(), keys.jwk)
    error = refused(forge({"alg": alg, "kid": "k1"}, good_payload(), signer(keys.rsa, "RS256")), keys.jwk)
    assert error.code is TokenCode.ALGORITHM
    assert f"signed with {says}; only" in error.what


def test_the_key_decides_what_it_is_for(keys: Keys) -> None:
    p256, p384 = keys.curves["P-256"], keys.curves["P-384"]
    es256 = forge({"alg": "ES256", "kid": "k1"}, good_payload(), signer(p256, "ES256"))
    assert check(keys.good(), jwk_of(keys.rsa, "k1"))
    assert check(es256, jwk_of(p256, "k1"))
    for token, jwk, says in (
        (es256, jwk_of(keys.rsa, "k1"), "is of type 'RSA', not EC"),
        (keys.good(), jwk_of(p256, "k1"), "is of type 'EC', not RSA"),
        (es256, jwk_of(p384, "k1"), "is on the curve 'P-384', not P-256"),
        (keys.good(), jwk_of(keys.rsa, "k1", alg="RS512"), "is for 'RS512' only"),
        (keys.good(), jwk_of(keys.rsa, "k1", use="enc"), "is not for signatures"),
        (keys.good(), jwk_of(keys.rsa, "k1", key_ops=["encrypt"]), "is not for signatures"),
        (keys.good(), {"kty": "RSA", "kid": "k1", "e": "AQAB"}, "has no n"),
        (keys.good(), {"kty": "RSA", "kid": "k1", "e": "AQAB", "n": 5}, "has no n"),
        (keys.good(), jwk_of(keys.rsa, "k1", n="A" * 100_000), "has more than 8192 bits"),
    ):
        error = refused(token, jwk)
        assert error.code is TokenCode.ALGORITHM
        assert says in error.what
        assert error.where == ISSUER


def test_a_small_rsa_key(keys: Keys) -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    token = forge(RS256, good_payload(), signer(small, "RS256"))
    assert check(keys.good(), jwk_of(keys.rsa, "k1"))
    assert "fewer than 2048 bits" in refused(token, jwk_of(small, "k1")).what


@pytest.mark.parametrize("change", [{"n": "!!!"}, {"e": "AA"}, {"e": "AQ"}, {"e": ""}], ids=str)
def test_a_broken_rsa_key(keys: Keys, change: dict[str, str]) -> None:
    assert check(keys.good(), keys.jwk)
    assert refused(keys.good(), keys.jwk | change).code in {TokenCode.SIGNATURE, TokenCode.ALGORITHM}


def test_a_point_off_the_curve(keys: Keys) -> None:
    key = keys.curves["P-256"]
    token = forge({"alg": "ES256", "kid": "k1"}, good_payload(), signer(key, "ES256"))
    assert check(token, jwk_of(key, "k1"))
    assert refused(token, jwk_of(key, "k1", x=b64(b"\1" * 32))).code is TokenCode.SIGNATURE
    # r = s = 0, which a careless verifier accepted for every message (CVE-2022-21449).
    zero = forge({"alg": "ES256", "kid": "k1"}, good_payload(), lambda _: bytes(64))
    assert refused(zero, jwk_of(key, "k1")).code is TokenCode.SIGNATURE


# --- headers -----------------------------------------------------------------------------------------------------


def test_key_material_in_the_header_is_not_looked_at(keys: Keys) -> None:
    stranger = jwk_of(keys.stranger, "k1")
    for extra in (
        {"jwk": stranger},
        {"jku": "https://evil.example/keys"},
        {"x5u": 7},
        {"x5c": ["x" * 700]},
        {"x5c": "no list"},
        {"unknown": {"a": 1}},
    ):
        header = {**RS256, "typ": "JWT", **extra}
        assert check(forge(header, good_payload(), signer(keys.rsa, "RS256")), keys.jwk)
        forged = forge(header, good_payload(), signer(keys.stranger, "RS256"))
        assert refused(forged, keys.jwk).code is TokenCode.SIGNATURE


@pytest.mark.parametrize("extra", [{"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"b64": False}])
def test_critical_extensions(keys: Keys, extra: dict[str, Any]) -> None:
    assert check(keys.good(), keys.jwk)
    error = refused(forge({**RS256, **extra}, good_payload(), signer(keys.rsa, "RS256")), keys.jwk)
    assert error.code is TokenCode.MALFORMED
    assert "extension (" in error.what


@pytest.mark.parametrize("kid", [None, "", 7, ["k1"], "nobody"])
def test_kid(keys: Keys, kid: object) -> None:
    assert check(keys.good(), keys.jwk)
    token = forge({"alg": "RS256", "kid": kid}, good_payload(), signer(keys.rsa, "RS256"))
    assert refused(token, keys.jwk).code is TokenCode.UNKNOWN_KEY


# --- form --------------------------------------------------------------------------------------------------------


def _malformed(keys: Keys) -> dict[str, str]:
    head, body, signature = keys.good().split(".")
    sign = signer(keys.rsa, "RS256")
    header, payload = json.dumps(RS256).encode(), json.dumps(good_payload()).encode()
    return {
        "empty": "",
        "garbage": "not.a.token",
        "two dots only": "..",
        "two parts": f"{head}.{body}",
        "four parts": f"{head}.{body}.{signature}.",
        "encrypted": f"{head}.{body}.{body}.{body}.{signature}",
        "line end": f"{head}.{body}.{signature}\n",
        "bearer": f"Bearer {head}.{body}.{signature}",
        "padding": f"{head}.{body}.{signature}==",
        "junk that base64 skips": f"{head}.{body}.{signature[:9]}!{signature[9:]}",
        "not ASCII": f"{head}.{body}.ü{signature}",
        "surrogate": f"{head}.{body}.\ud800{signature}",
        "plus for minus": f"{head}.{body}.+{signature[1:]}",
        "impossible length": f"{head}.{body}.{signature[: len(signature) // 4 * 4]}A",
        "header twice": forge(header[:-1] + b', "kid": "k1"}', payload, sign),
        "payload twice": forge(header, payload[:-1] + b', "sub": "x"}', sign),
        "payload twice, escaped": forge(header, payload[:-1] + b', "s\\u0075b": "x"}', sign),
        "payload twice, inside": forge(header, payload[:-1] + b', "a": {"b": 1, "b": 2}}', sign),
        "payload a list": forge(header, b"[" + payload + b"]", sign),
        "payload null": forge(header, b"null", sign),
        "nested token": forge(RS256 | {"cty": "JWT"}, keys.good().encode(), sign),
        "nested token, quoted": forge(RS256, json.dumps(keys.good()).encode(), sign),
        "not UTF-8": forge(header, payload.replace(b"data", b"d\xffta"), sign),
        "UTF-16": forge(header, payload.decode().encode("utf-16"), sign),
        "byte order mark": forge(header, b"\xef\xbb\xbf" + payload, sign),
        "unpaired surrogate": forge(header, payload.replace(b"data", b"d\\ud800ta"), sign),
        "too deep": forge(header, b'{"a":' + b"[" * 7000 + b"]" * 7000 + b"}", sign),
        "NaN in a claim nobody reads": forge(header, payload[:-1] + b', "note": NaN}', sign),
        "trailing JSON": forge(header, payload + b"{}", sign),
    }


def test_malformed(keys: Keys) -> None:
    assert check(keys.good(), keys.jwk)
    for case, token in _malformed(keys).items():
        error = refused(token, keys.jwk)
        assert error.code is TokenCode.MALFORMED, (case, error.what)
        assert error.todo, case


def test_length(keys: Keys) -> None:
    def padded(room: int) -> str:
        return keys.good(note="x" * room)

    longest = next(padded(room) for room in range(14_000, 15_000) if len(padded(room)) >= 19_997)
    assert len(longest) <= 20_000
    assert check(longest, keys.jwk)
    error = refused("A" * 20_001, keys.jwk)
    assert (error.code, "20001 characters; 20000 are allowed" in error.what) == (TokenCode.MALFORMED, True)


@pytest.mark.parametrize("value", [None, b"a.b.c", 5, ["a"]])
def test_not_text(value: Any) -> None:
    with pytest.raises(TokenError, match="a token is text"):
        decode_unverified(value)


def test_tampered(keys: Keys) -> None:
    head, body, signature = keys.good().split(".")
    assert check(f"{head}.{body}.{signature}", keys.jwk)
    other = b64(json.dumps(good_payload(sub="system:serviceaccount:data:admin")).encode())
    error = refused(f"{head}.{other}.{signature}", keys.jwk)
    assert error.code is TokenCode.SIGNATURE
    assert "(RS256) is not that of the key 'k1'" in error.what
    assert error.where == ISSUER
    assert refused(f"{head}.{body}.", keys.jwk).code is TokenCode.SIGNATURE
    assert refused(keys.good(), jwk_of(keys.stranger, "k1")).code is TokenCode.SIGNATURE


def test_an_error_prints_no_control_characters_and_no_novel(keys: Keys) -> None:
    for change in ({"iss": "\x1b[31m" + "x" * 5000}, {"aud": "\x1b[2J" + "y" * 5000}, {"exp": "\n" * 5000}):
        error = refused(keys.good(**change), keys.jwk)
        assert error.what.isprintable()
        assert len(error.what) < 1000


def test_decode_unverified_reads_what_nobody_signed() -> None:
    token = forge({"alg": "none"}, {"iss": "x"}, lambda _: b"")
    assert decode_unverified(token) == ({"alg": "none"}, {"iss": "x"})


@pytest.mark.parametrize(
    ("subject", "claim", "expected"),
    [
        ("system:serviceaccount:data:sa", {"namespace": "data", "serviceaccount": {"name": "sa", "uid": "u"}}, ("data", "sa", "u")),
        ("system:serviceaccount:data:sa", None, ("data", "sa", None)),
        ("system:serviceaccount:data:sa", [], ("data", "sa", None)),
        ("system:serviceaccount:data:sa", {"namespace": "data", "serviceaccount": "sa"}, ("data", "sa", None)),
        ("system:serviceaccount:data:sa", {"namespace": "data", "serviceaccount": {"name": "sa", "uid": 7}}, ("data", "sa", None)),
        ("system:serviceaccount:data:sa", {"namespace": "other", "serviceaccount": {"name": "sa", "uid": "u"}}, ("data", "sa", None)),
        ("system:serviceaccount:data:sa", {"namespace": "data", "serviceaccount": {"name": "admin", "uid": "u"}}, ("data", "sa", None)),
        ("system:serviceaccount:data:sa:x", None, None),
        ("system:serviceaccount:data:", None, None),
        ("system:serviceaccount::sa", None, None),
        ("system:serviceaccount:data", None, None),
        ("xsystem:serviceaccount:data:sa", None, None),
        ("system:serviceaccount:system:serviceaccount:data:sa", None, None),
        ("alice", None, None),
    ],
)  # fmt: skip
def test_service_account(keys: Keys, subject: str, claim: object, expected: object) -> None:
    claims = check(keys.good(**{"sub": subject, "kubernetes.io": claim}), keys.jwk)
    assert service_account_of(claims) == expected
