"""The signing issuer: the shape of its tokens, its documents, and rotation, served and verified over real connections."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from towpath.errors import UsageError
from towpath.oidc.discovery import discover
from towpath.oidc.errors import TokenCode, TokenError
from towpath.oidc.fetch import Fetcher, IssuerMapping
from towpath.oidc.issuer import SigningIssuer
from towpath.oidc.jwks import JwksCache
from towpath.oidc.verify import decode_unverified, service_account_of, verify

from .conftest import AUDIENCE, ISSUER, NOW, Authority, Site, Sites, answer

ARGUMENTS: dict[str, Any] = {
    "namespace": "data",
    "service_account": "hd-job-sa",
    "audiences": [AUDIENCE],
    "expires_in": 3600,
    "uid": "u-1",
}


@pytest.fixture(scope="module")
def private_keys() -> list[dict[str, Any]]:
    return SigningIssuer(ISSUER).export()["keys"]


@pytest.fixture
def issuer(private_keys: list[dict[str, Any]]) -> SigningIssuer:
    return SigningIssuer(ISSUER, keys=private_keys, clock=lambda: NOW + 0.75)


def serve(issuer: SigningIssuer, site: Site, ca_file: Path | None = None, **settings: Any) -> JwksCache:
    """The issuer's documents on a server, and a cache that reads them there under the issuer's public name."""
    site.routes["/.well-known/openid-configuration"] = lambda *at: _now(issuer.discovery_document, *at)
    site.routes["/keys"] = lambda *at: _now(issuer.jwks, *at)
    return JwksCache(Fetcher([IssuerMapping(public=ISSUER, local=site.url, ca_file=ca_file)]), **settings)


def test_a_token_is_shaped_as_kubernetes_own(issuer: SigningIssuer) -> None:
    header, payload = decode_unverified(issuer.issue(**ARGUMENTS, pod=("hd-job-abc", "p-1")))
    assert header == {"alg": "RS256", "kid": issuer.jwks()["keys"][0]["kid"]}
    assert str(uuid.UUID(payload.pop("jti")))
    assert payload == {
        "aud": [AUDIENCE],
        "exp": NOW + 3600,
        "iat": NOW,
        "iss": ISSUER,
        "kubernetes.io": {
            "namespace": "data",
            "pod": {"name": "hd-job-abc", "uid": "p-1"},
            "serviceaccount": {"name": "hd-job-sa", "uid": "u-1"},
        },
        "nbf": NOW,
        "sub": "system:serviceaccount:data:hd-job-sa",
    }


def test_no_two_tokens_have_one_name(issuer: SigningIssuer) -> None:
    names = {decode_unverified(issuer.issue(**ARGUMENTS))[1]["jti"] for _ in range(3)}
    assert len(names) == 3
    assert "pod" not in decode_unverified(issuer.issue(**ARGUMENTS))[1]["kubernetes.io"]


def test_audiences_are_a_list(issuer: SigningIssuer) -> None:
    assert decode_unverified(issuer.issue(**ARGUMENTS | {"audiences": ("a", "b")}))[1]["aud"] == ["a", "b"]
    with pytest.raises(UsageError, match="audiences is a list"):
        issuer.issue(**ARGUMENTS | {"audiences": AUDIENCE})


def _now(document: Callable[[], dict[str, Any]], *at: Any) -> None:
    answer(document())(*at)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_issued_served_fetched_and_verified(
    issuer: SigningIssuer, sites: Sites, authority: Authority, secure: bool
) -> None:
    site = sites.start(authority.context("127.0.0.1") if secure else None)
    cache = serve(issuer, site, ca_file=authority.file if secure else None)
    token = issuer.issue(**ARGUMENTS)
    claims = verify(token, issuer=ISSUER, keys=cache, audiences={AUDIENCE}, now=NOW)
    assert service_account_of(claims) == ("data", "hd-job-sa", "u-1")
    assert site.asked == ["/.well-known/openid-configuration", "/keys"]


def test_lifetimes(issuer: SigningIssuer, site: Site) -> None:
    cache = serve(issuer, site)

    def code(token: str, now: float) -> str:
        try:
            verify(token, issuer=ISSUER, keys=cache, audiences={AUDIENCE}, now=now)
        except TokenError as error:
            return error.code
        return "accepted"

    token = issuer.issue(**ARGUMENTS)
    assert [code(token, NOW + s) for s in (-6, -5, 0, 3599, 3600)] == [
        "not-yet-valid", "accepted", "accepted", "accepted", "expired",
    ]  # fmt: skip
    expired = issuer.issue(**ARGUMENTS | {"expires_in": -60})
    assert code(expired, NOW) == TokenCode.EXPIRED
    assert code(expired, NOW - 61) == "accepted"
    assert code(issuer.issue(**ARGUMENTS, now=NOW + 3000), NOW) == TokenCode.NOT_YET_VALID
    assert code(issuer.issue(**ARGUMENTS, now=NOW + 3000), NOW + 3000) == "accepted"


@pytest.mark.parametrize("slash", ["", "/"])
def test_its_discovery_document_is_one(private_keys: list[dict[str, Any]], site: Site, slash: str) -> None:
    issuer = SigningIssuer(ISSUER + slash, keys=private_keys)
    serve(issuer, site)
    fetcher = Fetcher([IssuerMapping(public=ISSUER, local=site.url)])
    found = discover(ISSUER + slash, fetcher)
    assert (found.jwks_uri, found.algorithms) == (f"{ISSUER}/keys", ("RS256",))
    with pytest.raises(TokenError, match="differ by a slash"):
        discover(ISSUER + ("" if slash else "/"), fetcher)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512"])
def test_algorithms(site: Site, algorithm: str) -> None:
    issuer = SigningIssuer(ISSUER, algorithm=algorithm)
    cache = serve(issuer, site)
    token = issuer.issue(**ARGUMENTS, now=NOW)
    assert decode_unverified(token)[0]["alg"] == algorithm
    assert verify(token, issuer=ISSUER, keys=cache, audiences=None, now=NOW)
    assert issuer.discovery_document()["id_token_signing_alg_values_supported"] == [algorithm]


@pytest.mark.parametrize("algorithm", ["none", "HS256", "PS256", "", "rs256"])
def test_algorithms_it_does_not_sign_with(algorithm: str) -> None:
    with pytest.raises(UsageError, match="cannot sign with"):
        SigningIssuer(ISSUER, algorithm=algorithm)


def test_key_ids_are_thumbprints() -> None:
    # The example of RFC 7638, section 3.1.
    public = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
    }
    from joserfc.jwk import RSAKey

    from towpath.oidc.issuer import _Signer

    assert _Signer(RSAKey.import_key(public), "RS256").kid == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_only_the_public_half_is_published(issuer: SigningIssuer) -> None:
    (jwk,) = issuer.jwks()["keys"]
    assert set(jwk) == {"kty", "n", "e", "use", "alg", "kid"}
    (elliptic,) = SigningIssuer(ISSUER, algorithm="ES256").jwks()["keys"]
    assert set(elliptic) == {"kty", "crv", "x", "y", "use", "alg", "kid"}


# --- rotation ----------------------------------------------------------------------------------------------------


def test_rotation(issuer: SigningIssuer, site: Site) -> None:
    moment = [0.0]
    cache = serve(issuer, site, ttl=600, refetch_interval=10, clock=lambda: moment[0])

    def accepted(token: str) -> bool:
        return bool(verify(token, issuer=ISSUER, keys=cache, audiences={AUDIENCE}, now=NOW))

    old = issuer.issue(**ARGUMENTS)
    old_kid = decode_unverified(old)[0]["kid"]
    assert accepted(old)
    with pytest.raises(UsageError, match="signs"):
        issuer.retire(old_kid)

    new_kid = issuer.rotate()
    new = issuer.issue(**ARGUMENTS)
    assert decode_unverified(new)[0]["kid"] == new_kid != old_kid
    moment[0] += 10
    assert accepted(new)
    assert accepted(old)
    assert [jwk["kid"] for jwk in issuer.jwks()["keys"]] == [old_kid, new_kid]

    issuer.retire(old_kid)
    assert accepted(old)  # as long as the published keys are not read again
    moment[0] += 600
    assert accepted(new)
    with pytest.raises(TokenError) as caught:
        accepted(old)
    assert caught.value.code is TokenCode.UNKNOWN_KEY
    assert f"no key '{old_kid}'; it has '{new_kid}'" in caught.value.what
    with pytest.raises(UsageError, match="there is no key"):
        issuer.retire(old_kid)


def test_a_rotated_key_keeps_the_algorithm(site: Site) -> None:
    issuer = SigningIssuer(ISSUER, algorithm="ES256")
    issuer.rotate()
    assert [jwk["alg"] for jwk in issuer.jwks()["keys"]] == ["ES256", "ES256"]


# --- keys kept -------------------------------------------------------------------------------------------------


def test_keys_survive_a_restart(site: Site, tmp_path: Path) -> None:
    first = SigningIssuer(ISSUER, algorithm="ES256")
    before = first.issue(**ARGUMENTS, now=NOW)
    first.rotate()
    path = tmp_path / "keys.json"
    path.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    path.write_text(json.dumps(first.export()))

    second = SigningIssuer(ISSUER)
    cache = serve(second, site)
    with pytest.raises(TokenError):
        verify(before, issuer=ISSUER, keys=cache, audiences=None, now=NOW)
    second.restore(json.loads(path.read_text()))
    assert second.jwks() == first.jwks()
    third = SigningIssuer(ISSUER, keys=first.export()["keys"])
    assert third.jwks() == first.jwks()
    cache = serve(second, site)
    for token in (before, second.issue(**ARGUMENTS, now=NOW), third.issue(**ARGUMENTS, now=NOW)):
        assert verify(token, issuer=ISSUER, keys=cache, audiences=None, now=NOW)
    second.rotate()
    assert second.jwks()["keys"][-1]["alg"] == "ES256"


@pytest.mark.parametrize(
    "change",
    [
        lambda _: {},
        lambda _: {"keys": []},
        lambda _: {"keys": None},
        lambda _: {"keys": ["x"]},
        lambda key: {"keys": [{k: v for k, v in key.items() if k != "d"}]},
        lambda key: {"keys": [key | {"kty": "oct"}]},
        lambda key: {"keys": [key | {"alg": "HS256"}]},
        lambda key: {"keys": [key | {"alg": "ES256"}]},
        lambda key: {"keys": [key | {"alg": ["RS256"]}]},
        lambda key: {"keys": [key | {"d": 5}]},
        lambda key: {"keys": [key, {"kty": "EC", "crv": "P-999", "d": "x"}]},
    ],
)
def test_keys_that_are_none_change_nothing(issuer: SigningIssuer, change: Callable[[Any], Any]) -> None:
    (key,) = issuer.export()["keys"]
    issuer.restore({"keys": [key]})
    with pytest.raises(UsageError) as caught:
        issuer.restore(change(key))
    assert caught.value.todo
    assert key["d"] not in f"{caught.value!r} {caught.value}"
    assert issuer.export() == {"keys": [key]}


def test_what_importing_costs() -> None:
    """The command line imports these rooms for `--help`; the libraries for HTTP and signatures come when they are used."""
    text = (
        "import sys, towpath.oidc, towpath.oidc.errors, towpath.oidc.fetch, towpath.oidc.discovery, towpath.oidc.jwks,"
        " towpath.oidc.verify, towpath.oidc.issuer\n"
        "print([name for name in ('httpx2', 'joserfc', 'cryptography', 'ssl') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
