"""OIDC providers: their URLs, client ids and thumbprints.

Source: CreateOpenIDConnectProvider in the IAM API reference; "Creating OpenID Connect (OIDC) identity providers", IAM User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from towpath.sandbox.creation.rule import Asked, Rule, check_tags, invalid, limit
from towpath.sandbox.errors import AwsError

PROVIDERS: Final = 100
CLIENT_IDS: Final = 100
THUMBPRINTS: Final = 5


def _create(asked: Asked) -> None:
    url = asked.text("Url")
    _check_url(url)
    if len(asked.parameters.get("ClientIDList", ())) > CLIENT_IDS:
        raise limit("ClientIdsPerOpenIdConnectProvider", CLIENT_IDS)
    _thumbprints(asked)
    check_tags(asked.parameters.get("Tags", ()))
    providers = asked.state.providers(asked.account)
    if url in providers:
        raise AwsError("EntityAlreadyExists", f"Provider with url {url} already exists.", 409)
    if len(providers) >= PROVIDERS:
        raise limit("OpenIdConnectProvidersPerAccount", PROVIDERS)


def _check_url(url: str) -> None:
    """https, a host and a path; no port, query, fragment or user name."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port is None
    except ValueError:
        good = False
        parts = urlsplit("")
    if not good or "@" in parts.netloc or ":" in parts.netloc or "?" in url or "#" in url:
        raise AwsError(
            "ValidationError",
            "Invalid Open ID Connect Provider URL",
            400,
            why="a provider's URL is https, a host and a path, without port, query, fragment or user",
        )


def _thumbprints(asked: Asked) -> None:
    found = [str(item) for item in asked.parameters.get("ThumbprintList", ())]
    if not all(re.fullmatch(r"[0-9A-Fa-f]{40}", item) for item in found):
        raise invalid("Thumbprint must be 40 hexadecimal characters")
    if len(found) > THUMBPRINTS:
        raise AwsError("InvalidInput", "Thumbprint list must contain fewer than 5 entries.", 400)


def _add_client_id(asked: Asked) -> None:
    arn, client_id = asked.text("OpenIDConnectProviderArn"), asked.text("ClientID")
    found = next((p for p in asked.state.providers(asked.account).values() if p.arn == arn), None)
    if found is None:
        raise AwsError("NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}", 404)
    if client_id not in found.client_ids and len(found.client_ids) >= CLIENT_IDS:
        raise limit("ClientIdsPerOpenIdConnectProvider", CLIENT_IDS)


RULES: Final[Mapping[str, Rule]] = {
    "AddClientIDToOpenIDConnectProvider": _add_client_id,
    "CreateOpenIDConnectProvider": _create,
    "UpdateOpenIDConnectProviderThumbprint": _thumbprints,
}
