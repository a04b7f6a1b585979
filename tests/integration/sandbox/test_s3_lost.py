"""A part of a setting that the sandbox would lose is refused, beside the same setting without it; and nothing behind the gate guesses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.exceptions import ClientError

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3.carried_out import CARRIED_OUT
from towpath.sandbox.s3.lost import LOST
from towpath.sandbox.s3.operations import BUCKET, OPERATIONS, REFUSED, SYNONYMS, S3Operation
from towpath.sandbox.wire import Request

from .conftest import World

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("lost_settings.yaml").read_text())
NAMES = (f"lost-{number}" for number in itertools.count())
PLACE: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
GUESSED = [
    row
    for row in OPERATIONS
    if row.level == BUCKET and row.method in {"PUT", "DELETE"} and row.selector and row.name not in CARRIED_OUT
]


@pytest.fixture
def bucket(world: World) -> str:
    name = next(NAMES)
    world.client("s3").create_bucket(Bucket=name, ObjectOwnership="BucketOwnerPreferred", **PLACE)
    return name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["part"])
def test_a_part_that_would_be_lost_is_refused(world: World, bucket: str, case: dict[str, Any]) -> None:
    s3 = world.client("s3")
    owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
    if "acl" in case:
        s3.put_bucket_acl(Bucket=bucket, ACL=case["acl"])

    def call(given: dict[str, Any]) -> None:
        filled = json.loads(json.dumps(given).replace("BUCKET", bucket).replace("OWNER", owner))
        getattr(s3, case["call"])(**{"Bucket": bucket, **filled})

    call(case["right"])
    before = _settings(world, bucket)
    with pytest.raises(ClientError) as caught:
        call(case["wrong"])
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("NotImplemented", 501)
    assert error["Error"]["Message"] == "A header you provided implies functionality that is not implemented."
    assert world.sandbox.record.after(0)[-1].why == f"this sandbox does not keep {case['part']}"
    assert _settings(world, bucket) == before
    assert f"{bucket}-tagged" not in {each["Name"] for each in s3.list_buckets()["Buckets"]}


def _settings(world: World, bucket: str) -> list[Any]:
    s3 = world.client("s3")
    found = [s3.get_bucket_versioning(Bucket=bucket), s3.get_bucket_logging(Bucket=bucket)]
    found += [s3.get_bucket_acl(Bucket=bucket), s3.list_bucket_inventory_configurations(Bucket=bucket)]
    return [{key: value for key, value in each.items() if key != "ResponseMetadata"} for each in found]


def test_every_part_in_the_table_has_a_case() -> None:
    parts = {
        f"{path}{'' if value is None else ' ' + value} of {name}"
        for name, paths in LOST.items()
        for path, value in paths
    }
    assert {case["part"] for case in CASES} == parts


def test_every_operation_of_the_sdks_is_carried_out_or_refused() -> None:
    """A new one is in no table, and so neither recognised nor carried out: then this fails until somebody looked."""
    names = set(botocore.session.Session().get_service_model("s3").operation_names)
    known = {row.name for row in OPERATIONS}
    assert names == (known | REFUSED.keys() | SYNONYMS.keys()) & names
    assert not CARRIED_OUT & REFUSED.keys()
    assert CARRIED_OUT - {"PostObject"} <= known & names
    assert set(SYNONYMS.values()) <= CARRIED_OUT


@pytest.mark.parametrize("row", GUESSED, ids=lambda row: row.name)
def test_the_backend_does_not_guess_either(world: World, bucket: str, row: S3Operation) -> None:
    """Without the gate's check before it: what it does not know is not taken for the bucket's own creation or deletion."""
    query = f"{row.selector}&id=x" if row.extra else row.selector
    request = Request(method=row.method, path=f"/{bucket}", query=query, headers={"host": "localhost"})
    with pytest.raises(AwsError, match="NotImplemented"):
        world.sandbox._backend.call(request, service="s3", region="eu-west-1", account="123456789012")
    world.client("s3").head_bucket(Bucket=bucket)


@pytest.mark.parametrize(("method", "sub"), [("PUT", "annotation"), ("DELETE", "annotation"), ("PUT", "encryption")])
def test_the_backend_leaves_an_object_alone(world: World, bucket: str, method: str, sub: str) -> None:
    s3 = world.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    request = Request(method=method, path=f"/{bucket}/k", query=sub, headers={"host": "localhost"})
    with pytest.raises(AwsError, match="NotImplemented"):
        world.sandbox._backend.call(request, service="s3", region="eu-west-1", account="123456789012")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
