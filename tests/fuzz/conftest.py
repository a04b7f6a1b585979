"""A door to the gate: requests go in without a socket, and what reached the emulator behind it is written down."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from defusedxml import ElementTree
from hypothesis import HealthCheck, Phase, settings

from towpath.sandbox.backend import Backend
from towpath.sandbox.main import Sandbox
from towpath.sandbox.principals import Key
from towpath.sandbox.wire import Request, Response

from .signing import plain, signed

BUCKET = "fuzzed"
ROLE = "arn:aws:iam::123456789012:role/fuzzed"
SUBJECT = ("data", "hd-job-sa")
EVERYDAY = pytest.mark.parametrize("examples", [60, pytest.param(10_000, marks=pytest.mark.long)], ids=["few", "many"])


def fuzzing(examples: int) -> settings:
    """Seeded: a failure here is the same failure everywhere."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )


@dataclass
class Door:
    """`knock` is one request through the gate; it fails the test for whatever no request may cause."""

    sandbox: Sandbox
    token: str = ""
    reached: list[str] = field(default_factory=list[str])  # what the emulator was asked since the last knock
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def key(self) -> Key:
        return self.sandbox.admin_key

    def knock(self, request: Request) -> Response:
        self.reached.clear()
        if request.method in {"PUT", "POST"}:  # the server has read the body by it
            length = {"content-length": str(request.body.length)}
            request = replace(request, headers={**length, **request.headers})
        response = self.sandbox.gate.handle(request)
        body = response.read()
        assert response.status != 500, f"500: {self.why()}"
        for name, value in response.headers:
            encoded = name.encode("latin-1") + value.encode()
            assert b"\r" not in encoded, (name, value)
            assert b"\n" not in encoded, (name, value)
        if response.status >= 400 and body.startswith(b"<"):
            ElementTree.fromstring(body)
        return response

    def why(self) -> str:
        """Of the newest line of the call record."""
        return self.sandbox.record.after(0)[-1].why

    def get(self, key: str) -> bytes | None:
        """An object as it is stored, or None."""
        response = self.knock(signed(plain("GET", f"/{BUCKET}/{key}"), self.key))
        return response.read() if response.status == 200 else None


@pytest.fixture(scope="session")
def door(towpath_sandbox: Sandbox) -> Iterator[Door]:
    door = Door(towpath_sandbox)
    cluster = towpath_sandbox.clusters.named(towpath_sandbox.settings.cluster)
    assert cluster is not None
    _prepare(towpath_sandbox, cluster.issuer_url)
    door.token = cluster.token(*SUBJECT, audiences=["sts.amazonaws.com"], expires_in=86_400)[0]
    call, send, quiet = Backend.call, Backend._send, threading.local()

    def calling(self: Backend, request: Request, **where: Any) -> Response:
        if not getattr(quiet, "on", False):
            door.reached.append(f"{where['service']} {request.method} {request.path}")
        return call(self, request, **where)

    def sending(self: Backend, *arguments: Any, **more: Any) -> Any:
        quiet.on = True  # the gate's own reading of IAM's state
        try:
            return send(self, *arguments, **more)
        finally:
            quiet.on = False

    Backend.call, Backend._send = calling, sending  # type: ignore[method-assign]
    yield door
    Backend.call, Backend._send = call, send  # type: ignore[method-assign]


def _prepare(sandbox: Sandbox, issuer: str) -> None:
    """A bucket with an object, and a role that one service account may assume."""
    where = {
        "endpoint_url": sandbox.endpoint,
        "region_name": "eu-west-1",
        "aws_access_key_id": sandbox.admin_key.access_key,
        "aws_secret_access_key": sandbox.admin_key.secret,
    }
    s3, iam = boto3.client("s3", **where), boto3.client("iam", **where)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=BUCKET, Key="present", Body=b"here")
    host = issuer.removeprefix("https://")
    if not any(
        item["Arn"].endswith(host) for item in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    ):
        iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
    wanted = {f"{host}:sub": "system:serviceaccount:data:hd-job-sa", f"{host}:aud": "sts.amazonaws.com"}
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{host}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": wanted},
        },
    }
    iam.create_role(RoleName="fuzzed", AssumeRolePolicyDocument=json.dumps(trust))
