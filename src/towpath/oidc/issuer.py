"""A small issuer that signs tokens shaped as Kubernetes' own, with discovery, keys and rotation.

Shape: "Managing Service Accounts" (bound service account tokens), Kubernetes documentation.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import RSAKey

KEY_BITS: Final = 2048
ALGORITHM: Final = "RS256"


class SigningIssuer:
    """One issuer. The newest key signs; older ones stay published until they are retired. Thread-safe."""

    def __init__(self, url: str, *, keys: Sequence[Mapping[str, Any]] | None = None, clock: Callable[[], float] = time.time) -> None:
        self.url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: list[RSAKey] = [RSAKey.import_key(dict(key)) for key in keys] if keys else [_new_key()]

    def discovery_document(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url.rstrip('/')}/keys",
            "authorization_endpoint": "urn:kubernetes:programmatic_authorization",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "claims_supported": ["sub", "iss"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def jwks(self) -> dict[str, Any]:
        """The public key set (RFC 7517, section 5)."""
        with self._lock:
            return {"keys": [{**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM, "kid": _kid(key)} for key in self._keys]}

    def rotate(self) -> str:
        """Sign with a new key from now on. Gives its key id; the old key stays published."""
        key = _new_key()
        with self._lock:
            self._keys.append(key)
        return _kid(key)

    def retire(self, kid: str) -> None:
        """Publish a key no longer. Raises ValueError for the key that signs."""
        with self._lock:
            if _kid(self._keys[-1]) == kid:
                raise ValueError(f"{kid} signs; rotate first")
            self._keys = [key for key in self._keys if _kid(key) != kid]

    def issue(
        self,
        *,
        namespace: str,
        service_account: str,
        audiences: Sequence[str],
        expires_in: int,
        uid: str,
        pod: tuple[str, str] | None = None,
        now: float | None = None,
    ) -> str:
        """A token of a service account, `expires_in` seconds long (negative: already expired). `pod` is its name and UID."""
        issued = int(self._clock() if now is None else now)
        # One that has already expired was issued before it did, or it would be refused for being from the future instead.
        begins = min(issued, issued + expires_in - 1)
        private: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": service_account, "uid": uid}}
        if pod is not None:
            private["pod"] = {"name": pod[0], "uid": pod[1]}
        claims = {
            "aud": list(audiences),
            "exp": issued + expires_in,
            "iat": begins,
            "iss": self.url,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": begins,
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
        }
        with self._lock:
            key = self._keys[-1]
        return jwt.encode({"alg": ALGORITHM, "kid": _kid(key)}, claims, key, algorithms=[ALGORITHM])

    def export(self) -> list[dict[str, Any]]:
        """The private keys as JWKs, oldest first: secrets, for a file only its owner can read."""
        with self._lock:
            return [dict(key.as_dict(private=True)) for key in self._keys]


def _new_key() -> RSAKey:
    return RSAKey.generate_key(KEY_BITS, private=True, auto_kid=False)


def _kid(key: RSAKey) -> str:
    """RFC 7638."""
    return key.thumbprint()
