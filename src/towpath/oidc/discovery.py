"""An issuer's discovery document (OpenID Connect Discovery 1.0, sections 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from towpath.oidc.errors import IssuerUnreachable, TokenCode, TokenError
from towpath.oidc.fetch import Fetcher

PATH: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, kw_only=True)
class Discovery:
    issuer: str
    jwks_uri: str
    algorithms: tuple[str, ...]


def discover(issuer: str, fetcher: Fetcher) -> Discovery:
    """Raises IssuerUnreachable when it cannot be read, TokenError (issuer) when it names another issuer.

    The two are compared letter for letter: a trailing slash makes another issuer (section 4.3).
    """
    url = issuer.rstrip("/") + PATH
    document = fetcher.get_json(url)
    named = document.get("issuer")
    if named != issuer:
        raise TokenError(TokenCode.ISSUER, f"the discovery document names the issuer {named!r}, it is served for {issuer!r}", where=url, todo="serve the document with exactly that issuer, to the last slash")
    jwks_uri = document.get("jwks_uri")
    if not isinstance(jwks_uri, str) or not jwks_uri:
        raise IssuerUnreachable("the discovery document has no jwks_uri", where=url)
    algorithms: Any = document.get("id_token_signing_alg_values_supported", [])
    found = tuple(str(item) for item in cast("list[Any]", algorithms)) if isinstance(algorithms, list) else ()
    return Discovery(issuer=issuer, jwks_uri=jwks_uri, algorithms=found)
