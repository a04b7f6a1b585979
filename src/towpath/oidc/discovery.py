"""An issuer's discovery document (OpenID Connect Discovery 1.0, sections 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from towpath.oidc.errors import IssuerUnreachable, TokenCode, TokenError, shown
from towpath.oidc.fetch import Fetcher

PATH: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a verifier needs of it. `algorithms` are those the document names; it may name none."""

    issuer: str
    jwks_uri: str
    algorithms: tuple[str, ...]


def document_url(issuer: str) -> str:
    """Where an issuer's discovery document is: a slash at the issuer's end is not doubled (section 4.1)."""
    return issuer.removesuffix("/") + PATH


def discover(issuer: str, fetcher: Fetcher) -> Discovery:
    """Raises IssuerUnreachable when it cannot be read, TokenError (issuer) when it names another issuer.

    The two are compared letter for letter: a trailing slash makes another issuer (section 4.3).
    """
    url = document_url(issuer)
    document = fetcher.get_json(url)
    named = document.get("issuer")
    if named != issuer:
        slash = isinstance(named, str) and named.rstrip("/") == issuer.rstrip("/")
        raise TokenError(
            TokenCode.ISSUER,
            f"the discovery document names the issuer {shown(named)}, but it is served for {shown(issuer)}"
            + ("; they differ by a slash at the end" if slash else ""),
            where=url,
            todo=f'serve the document with "issuer": "{issuer}", to the last slash',
        )
    jwks_uri = document.get("jwks_uri")
    if not isinstance(jwks_uri, str) or not jwks_uri:
        raise IssuerUnreachable(
            "the discovery document has no jwks_uri", where=url, todo="add the https URL of the issuer's keys"
        )
    algorithms: Any = document.get("id_token_signing_alg_values_supported")
    named_algorithms = cast("list[Any]", algorithms) if isinstance(algorithms, list) else []
    return Discovery(
        issuer=issuer,
        jwks_uri=jwks_uri,
        algorithms=tuple(item for item in named_algorithms if isinstance(item, str)),
    )
