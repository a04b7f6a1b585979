"""A small issuer that signs tokens shaped as Kubernetes' own, with discovery, keys and rotation.

Shape: "Managing Service Accounts" (bound service account tokens) and "Service Account Issuer Discovery", Kubernetes
documentation; key ids: RFC 7638.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from towpath.errors import UsageError
from towpath.oidc.signature import ALGORITHMS, CURVES

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

KEY_BITS: Final = 2048
ALGORITHM: Final = "RS256"  # what Kubernetes and EKS sign with


class _Signer:
    """One private key, the algorithm it signs with, and its name."""

    def __init__(self, key: RSAKey | ECKey, algorithm: str) -> None:
        self.key = key
        self.algorithm = algorithm
        self.kid = key.thumbprint()

    @classmethod
    def new(cls, algorithm: str) -> _Signer:
        from joserfc.jwk import ECKey, RSAKey

        if algorithm not in ALGORITHMS:
            raise UsageError(
                f"an issuer cannot sign with {algorithm}", where="algorithm", todo=f"choose of {', '.join(ALGORITHMS)}"
            )
        curve = CURVES.get(algorithm)
        return cls(RSAKey.generate_key(KEY_BITS) if curve is None else ECKey.generate_key(curve), algorithm)

    @classmethod
    def of(cls, jwk: Mapping[str, Any]) -> _Signer:
        """Of a private JWK; without `alg`, RS256 or what its curve is for. Raises UsageError, never showing the key."""
        from joserfc.errors import JoseError
        from joserfc.jwk import ECKey, RSAKey

        by_curve = {curve: name for name, curve in CURVES.items()}
        wanted = jwk.get("alg") or (ALGORITHM if jwk.get("kty") == "RSA" else by_curve.get(str(jwk.get("crv"))))
        fits = wanted in ALGORITHMS and (
            jwk.get("kty") == "RSA" if wanted not in CURVES else jwk.get("crv") == CURVES[str(wanted)]
        )
        try:
            if not fits or not jwk.get("d"):
                raise ValueError(wanted)
            kind = RSAKey if jwk["kty"] == "RSA" else ECKey
            return cls(kind.import_key(cast("Any", dict(jwk))), str(wanted))
        except (JoseError, ValueError, TypeError, KeyError):
            raise UsageError(
                "not a private RSA or EC key of an issuer", where="JWK set", todo="give what an issuer exported"
            ) from None

    def jwk(self, *, private: bool) -> dict[str, Any]:
        parameters = cast("dict[str, Any]", self.key.as_dict(private=private))
        return {**parameters, "use": "sig", "alg": self.algorithm, "kid": self.kid}

    def sign(self, payload: Mapping[str, Any]) -> str:
        from joserfc import jws

        header = {"alg": self.algorithm, "kid": self.kid}
        text = json.dumps(payload, separators=(",", ":")).encode()
        return jws.serialize_compact(header, text, self.key, algorithms=[self.algorithm])


class SigningIssuer:
    """One issuer. The newest key signs; older ones stay published until they are retired. Thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        keys: Sequence[Mapping[str, Any]] | None = None,
        algorithm: str = ALGORITHM,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`keys`: private JWKs, oldest first; without them one key for `algorithm` is made. Raises UsageError."""
        self.url = url
        self._algorithm = algorithm
        self._clock = clock
        self._lock = threading.Lock()
        self._signers = [_Signer.of(key) for key in keys] if keys else [_Signer.new(algorithm)]

    def discovery_document(self) -> dict[str, Any]:
        """As a Kubernetes API server serves it, with the keys at `keys` beside it, where EKS has them."""
        with self._lock:
            algorithms = sorted({signer.algorithm for signer in self._signers})
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url.removesuffix('/')}/keys",
            "authorization_endpoint": "urn:kubernetes:programmatic_authorization",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "claims_supported": ["sub", "iss"],
            "id_token_signing_alg_values_supported": algorithms,
        }

    def jwks(self) -> dict[str, Any]:
        """The public key set (RFC 7517, section 5), oldest first."""
        with self._lock:
            return {"keys": [signer.jwk(private=False) for signer in self._signers]}

    def rotate(self) -> str:
        """Sign with a new key from now on. Gives its key id; the old key stays published."""
        signer = _Signer.new(self._algorithm)
        with self._lock:
            self._signers.append(signer)
        return signer.kid

    def retire(self, kid: str) -> None:
        """Publish a key no longer, so that what it signed is refused. Raises UsageError for the key that signs."""
        with self._lock:
            if self._signers[-1].kid == kid:
                raise UsageError(f"the key {kid} signs", where=self.url, todo="rotate first, then retire it")
            if all(signer.kid != kid for signer in self._signers):
                raise UsageError(f"there is no key {kid}", where=self.url, todo="name one of those it publishes")
            self._signers = [signer for signer in self._signers if signer.kid != kid]

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
        """A token of a service account, `expires_in` seconds long (negative: already expired).

        `pod` is the name and UID of the pod it is bound to; `now`, in seconds since 1970, stands in for the clock.
        """
        if isinstance(audiences, str):
            raise UsageError("audiences is a list, not one text", where=self.url, todo=f"give [{audiences!r}]")
        issued = int(self._clock() if now is None else now)
        # One that has already expired was issued before it did: an end before the beginning is malformed to some readers.
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
            signer = self._signers[-1]
        return signer.sign(claims)

    def export(self) -> dict[str, Any]:
        """The private keys as a JWK set, oldest first: secrets, for a file only its owner can read."""
        with self._lock:
            return {"keys": [signer.jwk(private=True) for signer in self._signers]}

    def restore(self, key_set: Mapping[str, Any]) -> None:
        """Take the keys of `export` in place of its own; the last one signs. Raises UsageError, and changes nothing then."""
        keys = key_set.get("keys")
        if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
            raise UsageError("not a JWK set with a key", where="JWK set", todo="give what an issuer exported")
        signers = [_Signer.of(cast("dict[str, Any]", key)) for key in keys]
        with self._lock:
            self._signers = signers
            self._algorithm = signers[-1].algorithm
