"""An issuer that AWS can reach: its discovery document and keys as two public objects of a bucket the person names."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tools.aws.side import Side
from towpath.oidc.issuer import SigningIssuer


class NotPublic(Exception):
    """The documents are written and nobody can read them. Its words are the statement the bucket's policy lacks."""


@contextmanager
def published(side: Side, bucket: str) -> Generator[Side]:
    """The side with an issuer in `bucket` under the run's name; the objects go afterwards. Raises NotPublic.

    The bucket's policy is the person's own: it is never written, only asked for.
    """
    host = f"{bucket}.s3.{side.region}.amazonaws.com"
    issuer = SigningIssuer(f"https://{host}/{side.run}")
    documents = {
        f"{side.run}/.well-known/openid-configuration": issuer.discovery_document(),
        f"{side.run}/keys": issuer.jwks(),
    }
    s3 = side.client("s3")
    try:
        for key, document in documents.items():
            s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode(), ContentType="application/json")
            _readable(f"https://{host}/{key}", side, bucket)
        yield replace(side, issuer=issuer.url, token=tokens(issuer), clients={})
    finally:
        for key in documents:
            s3.delete_object(Bucket=bucket, Key=key)


def tokens(issuer: Any) -> Callable[[str, list[str], int], str]:
    """Tokens for `namespace/name`, audiences and seconds (negative: expired)."""

    def token(subject: str, audiences: list[str], seconds: int) -> str:
        namespace, _, name = subject.partition("/")
        return str(
            issuer.issue(
                namespace=namespace,
                service_account=name,
                audiences=audiences,
                expires_in=seconds,
                uid=str(uuid.uuid4()),
                now=time.time(),
            )
        )

    return token


def _readable(url: str, side: Side, bucket: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=20):
            return
    except urllib.error.URLError as error:
        statement = {
            "Sid": "TowpathTestIssuer",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:{side.partition}:s3:::{bucket}/towpath-test-*",
        }
        raise NotPublic(
            f"{url} cannot be read by everybody ({error}); let the bucket's policy hold\n{json.dumps(statement, indent=2)}\n"
            "and its Block Public Access settings allow public policies"
        ) from None
