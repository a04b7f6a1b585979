"""Requests signed otherwise than an SDK would: by another clock, for another region, for longer than S3 takes, without the session's token."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_ID: Final = "towpath-test-signing"


@dataclass(frozen=True, kw_only=True)
class Signing:
    minutes: float = 0.0  # how far the signer's clock is ahead; negative: behind
    region: str = ""  # "": the side's
    expires: int = 60  # seconds; of a presigned URL
    token: str = ""  # of a session: "absent", or "altered"

    def keys(self, found: Mapping[str, str | None]) -> Mapping[str, str | None]:
        token = found.get("SessionToken")
        if self.token == "altered":
            return {**found, "SessionToken": f"{token}x"}
        if self.token == "absent":
            return {name: value for name, value in found.items() if name != "SessionToken"}
        return found


def _at(auth: type[Any], minutes: float) -> type[Any]:
    """The same kind of signature by a clock that is wrong. The scope's date and every header follow the request's time."""

    class Shifted(auth):  # type: ignore[misc]
        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = f"{datetime.now(UTC) + timedelta(minutes=minutes):%Y%m%dT%H%M%SZ}"
            super()._modify_request_before_signing(request)

    return Shifted


def _credentials(keys: Mapping[str, str | None]) -> Credentials:
    return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("SessionToken"))


@contextmanager
def signed(
    client: Any, keys: Mapping[str, str | None], how: Signing, *, service: str, region: str, host: str
) -> Generator[None]:
    """Within the block the requests of `client`, which signs nothing itself, are signed.

    `region` is the side's, for a service that does not say which it is signed for; `host` AWS's name of the service, since the sandbox's
    own has no region.
    """
    kind = _at(S3SigV4Auth if service == "s3" else SigV4Auth, how.minutes)

    def sign(request: AWSRequest, **_: Any) -> None:
        if host:
            request.headers["Host"] = host
        named = request.context.get("signing", {}).get("region", region)
        kind(_credentials(keys), service, how.region or named).add_auth(request)

    client.meta.events.register_last("request-created", sign, unique_id=_ID)
    try:
        yield
    finally:
        client.meta.events.unregister("request-created", unique_id=_ID)


def presigned(
    client: Any,
    operation: str,
    arguments: Mapping[str, Any],
    keys: Mapping[str, str | None],
    how: Signing,
    *,
    region: str,
) -> tuple[str, str]:
    """Method and URL. `client` signs nothing itself."""
    name = client.meta.method_to_api_mapping[operation]
    method = str(client.meta.service_model.operation_model(name).http["method"])
    request = AWSRequest(method=method, url=client.generate_presigned_url(operation, Params=dict(arguments)))
    auth = _at(S3SigV4QueryAuth, how.minutes)(_credentials(keys), "s3", region, expires=how.expires)
    auth.add_auth(request)
    return method, str(request.prepare().url)
