"""Discovery documents: the issuer they name is compared letter for letter."""

from __future__ import annotations

from typing import Any

import pytest

from towpath.oidc.discovery import Discovery, discover
from towpath.oidc.errors import IssuerUnreachable, TokenCode, TokenError

from .conftest import ISSUER, Documents

DOCUMENT: dict[str, Any] = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/keys",
    "id_token_signing_alg_values_supported": ["RS256", 7],
}
URL = f"{ISSUER}/.well-known/openid-configuration"


def test_good_document() -> None:
    found = discover(ISSUER, Documents({URL: DOCUMENT}))
    assert found == Discovery(issuer=ISSUER, jwks_uri=f"{ISSUER}/keys", algorithms=("RS256",))


def test_an_issuer_with_a_slash_has_its_document_at_the_same_place() -> None:
    documents = Documents({URL: DOCUMENT | {"issuer": f"{ISSUER}/"}})
    assert discover(f"{ISSUER}/", documents).issuer == f"{ISSUER}/"
    assert documents.asked == [URL]


@pytest.mark.parametrize(
    ("named", "says"),
    [
        (f"{ISSUER}/", f"'{ISSUER}/', but it is served for '{ISSUER}'; they differ by a slash at the end"),
        (ISSUER.lower(), f"'{ISSUER.lower()}', but it is served for '{ISSUER}'"),
        (ISSUER.removeprefix("https://"), "names the issuer 'oidc.eks"),
        (None, "names the issuer None"),
        ([ISSUER], "names the issuer a list"),
    ],
)
def test_another_issuer(named: object, says: str) -> None:
    assert discover(ISSUER, Documents({URL: DOCUMENT}))
    with pytest.raises(TokenError) as caught:
        discover(ISSUER, Documents({URL: DOCUMENT | {"issuer": named}}))
    assert caught.value.code is TokenCode.ISSUER
    assert says in caught.value.what
    assert caught.value.where == URL
    assert f'"issuer": "{ISSUER}"' in caught.value.todo


@pytest.mark.parametrize("uri", [None, "", 7, ["x"]])
def test_no_place_of_keys(uri: object) -> None:
    assert discover(ISSUER, Documents({URL: DOCUMENT}))
    with pytest.raises(IssuerUnreachable, match="has no jwks_uri"):
        discover(ISSUER, Documents({URL: DOCUMENT | {"jwks_uri": uri}}))


@pytest.mark.parametrize("algorithms", [None, "RS256", 7, {}])
def test_algorithms_are_optional(algorithms: object) -> None:
    document = DOCUMENT | {"id_token_signing_alg_values_supported": algorithms}
    assert discover(ISSUER, Documents({URL: document})).algorithms == ()
