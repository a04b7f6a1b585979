"""A token taken apart, strictly: RFC 7515 section 7.1 (compact form), RFC 7519 section 7.2 (a JSON object as payload).

What is lax elsewhere is refused here, because two readers of one token must read the same: characters outside base64url,
two members of one name (RFC 7515, section 4), NaN, unpaired surrogates.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn, cast

from towpath.oidc.errors import TokenCode, TokenError

LONGEST: Final = 20_000  # characters, STS's own limit (AssumeRoleWithWebIdentity, WebIdentityToken)

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, kw_only=True)
class Compact:
    """Nothing of it is verified. `signed` are the bytes that `signature` is of."""

    header: dict[str, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes


def parse(token: str) -> Compact:
    """Raises TokenError (malformed)."""
    if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # whoever reads it from a wire may err
        raise _malformed(f"a token is text, this is {type(token).__name__}")
    if len(token) > LONGEST:
        raise _malformed(f"the token has {len(token)} characters; {LONGEST} are allowed")
    parts = token.split(".")
    if len(parts) != 3:
        encrypted = ", as an encrypted token has" if len(parts) == 5 else ""
        raise _malformed(f"a signed JWT has three parts separated by dots, this has {len(parts)}{encrypted}")
    header, payload, signature = (
        _base64url(part, name) for part, name in zip(parts, ("header", "payload", "signature"), strict=True)
    )
    return Compact(
        header=_json_object(header, "header"),
        payload=_json_object(payload, "payload"),
        signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=signature,
    )


def _base64url(part: str, name: str) -> bytes:
    if not _BASE64URL.fullmatch(part) or len(part) % 4 == 1:
        raise _malformed(f"the token's {name} is not base64url without padding")
    decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    # The last character may hold bits that no byte needs (RFC 4648, section 3.5): one token has one spelling.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != part:
        raise _malformed(f"the token's {name} is not base64url without padding")
    return decoded


def _json_object(encoded: bytes, name: str) -> dict[str, Any]:
    try:
        text = encoded.decode()
        value = _DECODER.decode(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except _TwiceError as error:
        raise _malformed(f"the token's {name} has a member twice: {error.args[0][:80]!r}") from None
    except (ValueError, RecursionError):
        raise _malformed(f"the token's {name} is not JSON") from None
    if not isinstance(value, dict):
        raise _malformed(f"the token's {name} is not a JSON object")
    return cast("dict[str, Any]", value)


class _TwiceError(Exception):
    """A JSON object names a member twice; readers differ in which one counts."""


def _members(found: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in found:
        if name in out:
            raise _TwiceError(name)
        out[name] = value
    return out


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant)


def _malformed(what: str) -> TokenError:
    return TokenError(
        TokenCode.MALFORMED, what, todo="send the service account token as it stands in its file, without line ends"
    )
