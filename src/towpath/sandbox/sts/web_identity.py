"""AssumeRoleWithWebIdentity: the token verified, the trust policy asked, a session opened.

Sources: the operation's page in the STS API reference; "Pass session tags in AWS STS" and "Monitor and control actions taken with
assumed roles" (source identity) in the IAM User Guide. docs/decision.md lists the texts nobody could verify.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from towpath.iam import partition as partitions
from towpath.oidc import compact
from towpath.oidc.errors import IssuerUnreachable, TokenCode, TokenError
from towpath.oidc.jwks import JwksCache
from towpath.oidc.verify import Claims, verify
from towpath.sandbox import constraints
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.sts import session
from towpath.sandbox.sts.session import NO_TAGS, SessionTags

TAGS_CLAIM: Final = "https://aws.amazon.com/tags"
SOURCE_CLAIM: Final = "https://aws.amazon.com/source_identity"
OAUTH_PROVIDERS: Final = ("www.amazon.com", "graph.facebook.com")

NOT_A_JWT: Final = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a verified token says is there, and what it asks of the session."""

    claims: Claims
    audience: str  # what `<issuer>:aud` and the answer's Audience say
    provider_arn: str
    tags: SessionTags = NO_TAGS
    source_identity: str | None = None
    keys: Mapping[str, Any] = field(default_factory=dict[str, Any])  # the federated condition keys

    @property
    def actions(self) -> tuple[str, ...]:
        """Every action the trust policy has to allow."""
        return (
            "sts:AssumeRoleWithWebIdentity",
            *(("sts:TagSession",) if self.tags.values else ()),
            *(("sts:SetSourceIdentity",) if self.source_identity is not None else ()),
        )


def identify(parameters: Mapping[str, Any], account: str, *, state: IamState, jwks: JwksCache) -> Identity:
    """Raises AwsError: what is wrong with the token, in AWS's words."""
    if "ProviderId" in parameters:
        # It is for the OAuth 2.0 access tokens of two providers, which nobody can verify here.
        known = parameters["ProviderId"] in OAUTH_PROVIDERS
        raise AwsError(
            "ValidationError" if not known else "NotImplemented",
            "ProviderId is not given for an OpenID Connect ID token."
            if not known
            else "OAuth 2.0 access tokens are not verified by this sandbox: send an OpenID Connect ID token.",
            400 if not known else 501,
        )
    try:
        parsed = compact.parse(str(parameters["WebIdentityToken"]))
    except TokenError as error:
        raise _invalid(NOT_A_JWT, error) from None
    payload = parsed.payload
    issuer = payload.get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise AwsError("InvalidIdentityToken", "Missing a required claim: iss", 400)
    provider = state.providers(account).get(issuer)
    if provider is None:
        raise AwsError("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}", 400)
    if "aud" not in payload:
        raise AwsError("InvalidIdentityToken", "Missing a required claim: aud", 400)
    # Where the issuer names the party the token was issued to (azp), that is the audience, and not aud.
    party = payload.get("azp")
    party = party if isinstance(party, str) and party else None
    accepted = provider.client_ids if party is None else None
    try:
        claims = verify(parsed, issuer=issuer, keys=jwks, audiences=accepted, now=time.time())
    except IssuerUnreachable as error:
        raise AwsError(
            "IDPCommunicationError",
            "Error calling the Identity Provider: the request could not be fulfilled because your identity provider could not be reached or answered with an error. Retry the request; if it goes on, check the provider.",
            400,
            why=str(error),
        ) from None
    except TokenError as error:
        raise _token_error(error, payload) from None
    if party is not None and party not in provider.client_ids:
        raise AwsError("InvalidIdentityToken", "Incorrect token audience", 400, why=f"azp is {party[:200]!r}")
    host = partitions.issuer_host(issuer)
    tags, source = _tags(claims.raw), _source_identity(claims.raw)
    audiences = [party] if party is not None else list(claims.audiences)
    return Identity(
        claims=claims,
        audience=audiences[0],
        provider_arn=provider.arn,
        tags=tags,
        source_identity=source,
        keys={f"{host}:sub": claims.subject, f"{host}:aud": audiences, f"{host}:iss": issuer},
    )


def _tags(payload: Mapping[str, Any]) -> SessionTags:
    """`{"principal_tags": {KEY: [VALUE]}, "transitive_tag_keys": [KEY]}`, or the flat form, one claim a key."""
    claim = payload.get(TAGS_CLAIM)
    nested = cast("Mapping[str, Any]", claim) if isinstance(claim, dict) else {}
    if claim is not None and not isinstance(claim, dict):
        raise _claim_refused("The session tags claim is not a JSON object")
    raw: Any = nested.get("principal_tags", {})
    keys: Any = nested.get("transitive_tag_keys", [])
    if not isinstance(raw, dict) or not isinstance(keys, list):
        raise _claim_refused("The session tags claim is malformed")
    pairs: list[tuple[str, str]] = []
    for name, value in cast("dict[str, Any]", raw).items():
        values = cast("list[Any]", value) if isinstance(value, list) else [value]
        if len(values) != 1 or not isinstance(values[0], str):
            raise _claim_refused(f"The session tag {name[:128]} does not have exactly one value")
        pairs.append((name, values[0]))
    transitive = [str(key) for key in cast("list[Any]", keys)]
    if pairs or transitive:
        _check(pairs, transitive)
    return session.tags(pairs, transitive)


def _source_identity(payload: Mapping[str, Any]) -> str | None:
    value = payload.get(SOURCE_CLAIM)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _claim_refused("The source identity claim is not text")
    constraints.shaped("sts", "AssumeRole", {**_ANY_ROLE, "SourceIdentity": value})
    return value


# AssumeRole has parameters for what a token carries as claims; its model says what they may be.
_ANY_ROLE: Final = {"RoleArn": "arn:aws:iam::123456789012:role/any", "RoleSessionName": "any"}


def _check(pairs: list[tuple[str, str]], transitive: list[str]) -> None:
    form = dict(_ANY_ROLE)
    for number, (name, value) in enumerate(pairs, 1):
        form[f"Tags.member.{number}.Key"] = name
        form[f"Tags.member.{number}.Value"] = value
    form |= {f"TransitiveTagKeys.member.{number}": key for number, key in enumerate(transitive, 1)}
    constraints.shaped("sts", "AssumeRole", form)


def _claim_refused(message: str) -> AwsError:
    return AwsError("InvalidIdentityToken", message, 400)


def _token_error(error: TokenError, payload: Mapping[str, Any]) -> AwsError:
    """A refused token in AWS's words, by what was wrong with it."""
    if error.code is TokenCode.EXPIRED:
        return AwsError(
            "ExpiredTokenException",
            f"Token expired: current date/time {int(time.time())} must be before the expiration date/time {payload.get('exp')}",
            400,
            why=str(error),
        )
    if error.code is TokenCode.MISSING_CLAIM:
        name = next((claim for claim in ("aud", "sub", "exp", "iat") if claim not in payload), "sub")
        return _invalid(f"Missing a required claim: {name}", error)
    return _invalid(_TEXTS.get(error.code, NOT_A_JWT), error)


_TEXTS: Final = {
    TokenCode.AUDIENCE: "Incorrect token audience",
    TokenCode.UNKNOWN_KEY: "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
    TokenCode.TOO_OLD: "Token too old",
    TokenCode.NOT_YET_VALID: "Token is not yet valid",
    TokenCode.ISSUED_IN_FUTURE: "Token is not yet valid",
    TokenCode.ISSUER: "The identity provider's discovery document names another issuer",
    TokenCode.SIGNATURE: "The token's signature could not be verified",
    TokenCode.ALGORITHM: "The token's signing algorithm is not supported",
}


def _invalid(message: str, error: TokenError) -> AwsError:
    return AwsError("InvalidIdentityToken", message, 400, why=str(error))
