"""Whatever is sent as a token, claimed in one or published as a key: the answer is claims or a TokenError."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from towpath.oidc.errors import TokenError
from towpath.oidc.verify import Claims, service_account_of, verify

from .conftest import AUDIENCE, ISSUER, NOW, Keys, b64, forge, good_payload, keyring, signer

RS256 = {"alg": "RS256", "kid": "k1"}


def _check(token: str, jwk: Mapping[str, Any]) -> Claims:
    return verify(token, issuer=ISSUER, keys=keyring(jwk), audiences={AUDIENCE}, now=NOW)


def test_good_token(keys: Keys) -> None:
    assert _check(keys.good(), keys.jwk)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
part = st.binary(max_size=60).map(b64) | json_values.map(lambda v: b64(json.dumps(v).encode()))


def _only_token_errors(call: Callable[[], object]) -> None:
    try:
        call()
    except TokenError as error:
        printed = f"{error} {error.todo}"
    else:
        return
    assert printed.encode()


@settings(max_examples=150, deadline=None, database=None)
@given(
    st.text() | st.binary().map(lambda b: b.decode("latin-1")) | st.lists(part, min_size=3, max_size=3).map(".".join)
)
def test_any_text_is_accepted_or_a_token_error(token: str) -> None:
    _only_token_errors(lambda: verify(token, issuer=ISSUER, keys=keyring(), audiences=None, now=NOW))
    _only_token_errors(
        lambda: verify(token.encode(errors="replace"), issuer=ISSUER, keys=keyring(), audiences=None, now=NOW)
    )  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None, database=None)
@given(
    name=st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "kubernetes.io"]),
    value=json_values,
    header=st.dictionaries(st.sampled_from(["typ", "cty", "jwk", "jku", "x5c", "crit", "kid", "alg"]), json_values),
)
def test_any_signed_claim_is_accepted_or_a_token_error(
    keys: Keys, name: str, value: Any, header: dict[str, Any]
) -> None:
    def attempt() -> None:
        token = forge(RS256 | header, good_payload() | {name: value}, signer(keys.rsa, "RS256"))
        service_account_of(_check(token, keys.jwk))

    _only_token_errors(attempt)


@settings(max_examples=100, deadline=None, database=None)
@given(jwk=st.dictionaries(st.sampled_from(["kty", "n", "e", "crv", "x", "y", "alg", "use", "key_ops"]), json_values))
def test_any_published_key_is_used_or_a_token_error(keys: Keys, jwk: dict[str, Any]) -> None:
    _only_token_errors(lambda: _check(keys.good(), {**keys.jwk, **jwk, "kid": "k1"}))
    _only_token_errors(lambda: _check(keys.good(), {"kty": "RSA", **jwk, "kid": "k1"}))
