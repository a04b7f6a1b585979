"""One of the two that are compared: AWS, or the sandbox in its place. How to reach it, and what of its answers is its own."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from defusedxml import ElementTree

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
    """What came back: AWS's code and text ("" when it was done), the HTTP status, and of DeleteObjects the word on each key."""

    code: str
    message: str
    status: int
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{self.code}: {self.message} ({self.status})" if self.code else f"done ({self.status})"
        return "\n".join((said, *self.keys))


@dataclass(kw_only=True)
class Side:
    """`keys`: AccessKeyId, SecretAccessKey and perhaps SessionToken of an administrator who is not the account's root.

    `run`: what every name begins with; `settle`: seconds until what was written is known everywhere; `token`: makes a token for a subject
    and audiences, None where there is no issuer both know; `other`: the second account, under the same run.
    """

    name: str
    account: str
    region: str
    run: str
    keys: Mapping[str, str | None] = field(repr=False)
    administrator: str = ""  # the ARN of whose `keys` are
    endpoint: str | None = None
    partition: str = "aws"
    settle: float = 0.0
    issuer: str | None = None
    token: Callable[[str, list[str], int], str] | None = None
    other: Side | None = None
    clients: dict[tuple[Any, ...], Any] = field(default_factory=dict[tuple[Any, ...], Any], repr=False)

    @property
    def bucket(self) -> str:
        return f"{self.run}-lake"

    @property
    def versioned(self) -> str:
        return f"{self.run}-versions"

    @property
    def accounts(self) -> tuple[Side, ...]:
        return (self,) if self.other is None else (self, self.other)

    @property
    def has(self) -> set[str]:
        """What of `cases.NEEDS` there is."""
        found = {
            "web identity": self.token,
            "second account": self.other,
            "a user's keys": ":assumed-role/" not in self.administrator,
        }
        return {name for name, value in found.items() if value}

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

    def aws_host(self, service: str) -> str:
        """AWS's own name of a service in this region."""
        client = _session().create_client(
            service,
            region_name=self.region,
            config=Config(signature_version=UNSIGNED, ignore_configured_endpoint_urls=True),
        )
        try:
            return str(client.meta.endpoint_url).removeprefix("https://")
        finally:
            client.close()

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
        other = self.other.account if self.other is not None else "\0"
        for own, word in (
            (self.administrator or "\0", "ADMINISTRATOR"),
            (self.issuer or "\0", "ISSUER"),
            (self.run, "RUN"),
            (self.account, "ACCOUNT"),
            (other, "OTHER"),
        ):
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
        return Answer(code="", message="", status=int(status), keys=self._keys(found))

    def answer_of_url(self, method: str, url: str, body: bytes | None) -> Answer:
        """What S3 says to whoever has the URL and nothing else."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(url, data=body, method=method), timeout=30) as answer:
                return Answer(code="", message="", status=answer.status)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            found = {item.tag: item.text or "" for item in ElementTree.fromstring(text)} if text else {}
            return Answer(
                code=found.get("Code", str(error.code)), message=self.plain(found.get("Message", "")), status=error.code
            )

    def _keys(self, found: Mapping[str, Any]) -> tuple[str, ...]:
        """DeleteObjects succeeds whatever it refuses: each key's own answer, by key."""
        deleted = [(item["Key"], "deleted") for item in found.get("Deleted", ())]
        refused = [
            (item.get("Key", ""), f"{item.get('Code')}: {self.plain(item.get('Message', ''))}")
            for item in found.get("Errors", ())
        ]
        return tuple(f"{key}: {said}" for key, said in sorted(deleted + refused))
