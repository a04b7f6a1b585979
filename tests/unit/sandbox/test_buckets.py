"""What the gate knows of buckets follows from the requests that passed, whenever they are told it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from towpath.sandbox.buckets import ENFORCED, AccessBlock, Bucket, Buckets
from towpath.sandbox.wire import Body, Request

HOME, AWAY = "123456789012", "210987654321"


def request(method: str, target: str, body: str = "", **headers: str) -> Request:
    path, _, query = target.partition("?")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(
        method=method, path=path, query=query, headers={"host": "localhost", **named}, body=Body([body.encode()])
    )


def policy(principal: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


OPEN = "<PublicAccessBlockConfiguration><BlockPublicAcls>TRUE</BlockPublicAcls></PublicAccessBlockConfiguration>"
OWNED = "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>"


def test_a_buckets_life() -> None:
    buckets = Buckets()
    assert buckets.find("lake") is None

    def told(*what: Request, account: str = HOME) -> Bucket | None:
        for each in what:
            buckets.follow(each, account=account)
        return buckets.find("lake")

    assert told(request("PUT", "/lake")) == Bucket(name="lake", owner=HOME, ownership=ENFORCED)
    found = told(request("PUT", "/lake?policy", policy("*")))
    assert found is not None
    assert found.policy is not None
    assert (found.public, found.policy.name) == (True, "bucket policy of lake")
    found = told(request("PUT", "/lake?policy", policy({"AWS": AWAY})), request("PUT", "/lake?publicAccessBlock", OPEN))
    assert found is not None
    assert (found.public, found.blocked) == (
        False,
        AccessBlock(
            block_public_acls=True, ignore_public_acls=False, block_public_policy=False, restrict_public_buckets=False
        ),
    )
    # us-east-1 answers a second CreateBucket with success: nothing of the first is lost.
    assert told(request("PUT", "/lake")) == found
    found = told(
        request("DELETE", "/lake?policy"),
        request("DELETE", "/lake?publicAccessBlock"),
        request("PUT", "/lake?ownershipControls", OWNED),
    )
    assert found == Bucket(name="lake", owner=HOME, access_block=None, ownership="ObjectWriter")
    assert told(request("DELETE", "/lake?ownershipControls")) == Bucket(
        name="lake", owner=HOME, access_block=None, ownership=None
    )
    assert told(request("DELETE", "/lake")) is None
    assert told(request("PUT", "/lake", x_amz_object_ownership="BucketOwnerPreferred"), account=AWAY) == Bucket(
        name="lake", owner=AWAY, ownership="BucketOwnerPreferred"
    )  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        request("PUT", "/lake/key?acl"),
        request("DELETE", "/lake/key"),
        request("PUT", "/lake/policy", "{}"),
        request("PUT", "/lake?versioning", "<VersioningConfiguration/>"),
        request("DELETE", "/lake?tagging"),
        request("DELETE", "/other"),
        request("PUT", "/other?policy", policy("*")),
        request("GET", "/"),
    ],
    ids=lambda each: f"{each.method} {each.path}?{each.query}",
)
def test_what_changes_nothing(other: Request) -> None:
    buckets = Buckets()
    buckets.follow(request("PUT", "/lake"), account=HOME)
    before = buckets.find("lake")
    buckets.follow(other, account=AWAY)
    assert buckets.find("lake") is before
    assert buckets.find("other") is None
