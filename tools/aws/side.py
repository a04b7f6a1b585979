"""One of the two that are compared: AWS, or the sandbox in its place. How to reach it, and what of its answers is its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

NAME: Final = "towpath-test-"
TAG: Final = "towpath:test"
_KEYS: Final = {
    "AccessKeyId": "aws_access_key_id",
    "SecretAccessKey": "aws_secret_access_key",
    "SessionToken": "aws_session_token",
}


@cache
def _session() -> Any:
    """One for all: it keeps the services' models, which are slow to read."""
    return botocore.session.Session()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: AWS's code and text ("" when it was done), the HTTP status."""

    code: str
    message: str
    status: int

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.status})" if self.code else f"done ({self.status})"


@dataclass(kw_only=True)
class Side:
    """`keys`: AccessKeyId, SecretAccessKey and perhaps SessionToken of an administrator who is not the account's root.

    `run`: what every name begins with; `settle`: seconds until what was written is known everywhere; `token`: makes a token for a subject
    and audiences, None where there is no issuer both know.
    """

    name: str
    account: str
    region: str
    run: str
    keys: Mapping[str, str | None] = field(repr=False)
    endpoint: str | None = None
    partition: str = "aws"
    settle: float = 0.0
    issuer: str | None = None
    token: Callable[[str, list[str], int], str] | None = None
    clients: dict[tuple[Any, ...], Any] = field(default_factory=dict[tuple[Any, ...], Any], repr=False)

    @property
    def bucket(self) -> str:
        return f"{self.run}-lake"

    def client(self, service: str, keys: Mapping[str, str | None] | None = None) -> Any:
        """As the administrator, or with other keys; {} signs nothing."""
        found = self.keys if keys is None else keys
        place = (service, *sorted(found.items(), key=str))
        if place not in self.clients:
            signed = {_KEYS[name]: value for name, value in found.items() if name in _KEYS and value}
            config = Config(
                # Throttling, a closed connection and a 500 are no answers to compare; everything else is answered once.
                retries={"mode": "standard", "total_max_attempts": 5},
                parameter_validation=False,
                signature_version=UNSIGNED if not found else "s3v4" if service == "s3" else None,
                s3={"addressing_style": "path"},
            )
            self.clients[place] = _session().create_client(
                service, region_name=self.region, endpoint_url=self.endpoint, config=config, **signed
            )
        return self.clients[place]

    def close(self) -> None:
        for client in self.clients.values():
            client.close()
        self.clients.clear()

    def patiently(self, call: Callable[[], Any], *, codes: tuple[str, ...] = ("AccessDenied",)) -> Any:
        """What is only not known everywhere yet is tried again, for as long as this side may take."""
        deadline = time.monotonic() + 3 * self.settle
        while True:
            try:
                return call()
            except ClientError as error:
                if error.response["Error"]["Code"] not in codes or time.monotonic() >= deadline:
                    raise
                time.sleep(2)

    def plain(self, text: str) -> str:
        """An answer's text without what is this side's own: account, run, issuer, keys, times, ids."""
        for own, word in ((self.issuer or "\0", "ISSUER"), (self.run, "RUN"), (self.account, "ACCOUNT")):
            text = text.replace(own, word)
        text = re.sub(r"\bA[KRSI](?:IA|OA|DA)[A-Z0-9]{12,}\b", "KEY", text)
        text = re.sub(r"\b\d{10}(?:\.\d+)?\b", "TIME", text)
        text = re.sub(r"\d{8}T\d{6}Z", "TIME", text)
        return re.sub(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "ID", text)

    def answer(self, call: Callable[[], Any]) -> Answer:
        try:
            found = call()
        except ClientError as error:
            detail = error.response.get("Error", {})
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            return Answer(
                code=str(detail.get("Code", "")), message=self.plain(str(detail.get("Message", ""))), status=status
            )
        status = found.get("ResponseMetadata", {}).get("HTTPStatusCode", 200)
        return Answer(code="", message="", status=int(status))
