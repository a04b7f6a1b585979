"""An operation does what it is called, or is NotImplemented and changes nothing; and a setting is read back as it was written."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from towpath.sandbox.s3.carried_out import CARRIED_OUT
from towpath.sandbox.s3.operations import OBJECT, OPERATIONS, S3Operation

from .conftest import World
from .test_s3_requests import send

SETTINGS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("bucket_settings.yaml").read_text())
NAMES = (f"settings-{number}" for number in itertools.count())
OTHERS = [row for row in OPERATIONS if row.name not in CARRIED_OUT]


@pytest.fixture
def bucket(world: World) -> str:
    name = next(NAMES)
    place: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    world.client("s3").create_bucket(Bucket=name, **place)
    return name


def test_the_table_names_operations() -> None:
    assert CARRIED_OUT - {row.name for row in OPERATIONS} == {"PostObject"}
    assert {row.name for row in OTHERS} >= {"DeleteObjectAnnotation", "DeleteBucketMetricsConfiguration"}


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row.name)
def test_what_is_not_carried_out_says_so_and_changes_nothing(world: World, bucket: str, row: S3Operation) -> None:
    s3 = world.client("s3")
    if row.level == OBJECT:  # an empty bucket, for what could be taken for DeleteBucket
        s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    path = f"/{bucket}" + ("/k" if row.level == OBJECT else "")
    more = f"&{row.extra[1:]}=x" if row.extra.startswith("?") else ""
    answer = send(world, row.method, f"{path}?{row.selector}{more}")
    assert (answer.status_code, "<Code>NotImplemented</Code>" in answer.text) == (501, True)
    call = world.sandbox.record.after(0)[-1]
    assert call.action.removeprefix("s3:") in row.actions
    assert call.code == "NotImplemented"
    assert call.why == f"this sandbox does not carry out {row.name}"
    s3.head_bucket(Bucket=bucket)
    if row.level == OBJECT:
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"


def test_what_is_not_carried_out_is_judged_first(world: World, bucket: str) -> None:
    name = f"role-{bucket}"
    statement = {"Effect": "Allow", "Action": "s3:GetMetricsConfiguration", "Resource": f"arn:aws:s3:::{bucket}"}
    world.role(name, statement)
    s3 = world.client("s3", world.exchange(world.token(), name)["Credentials"])
    with pytest.raises(ClientError, match="NotImplemented"):
        s3.list_bucket_metrics_configurations(Bucket=bucket)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_bucket_metrics_configuration(Bucket=bucket, Id="i")


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: case["setting"])
def test_a_setting_is_read_back_as_it_was_written(world: World, bucket: str, case: dict[str, Any]) -> None:
    s3, setting, name = world.client("s3"), case["setting"], case.get("name", {})
    getattr(s3, f"put_{setting}")(Bucket=bucket, **name, **case["put"])

    def read() -> dict[str, Any]:
        found = getattr(s3, f"get_{setting}")(Bucket=bucket, **name)
        return {key: value for key, value in found.items() if key != "ResponseMetadata"}

    assert read() == case.get("read", case["put"])
    if "deleted" in case:
        getattr(s3, f"delete_{case.get('delete', setting)}")(Bucket=bucket, **name)
        with pytest.raises(ClientError) as caught:
            read()
        assert caught.value.response["Error"]["Code"] == case["deleted"]


def test_a_rule_without_an_id_is_given_one(world: World, bucket: str) -> None:
    s3 = world.client("s3")
    rule = {"Status": "Enabled", "Filter": {"Prefix": "a"}, "Expiration": {"Days": 3}}
    for _ in range(2):
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
        (found,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert len(found.pop("ID")) == 48
        assert found == rule


def test_a_locks_default_is_read_back(world: World) -> None:
    s3, name = world.client("s3"), next(NAMES)
    s3.create_bucket(
        Bucket=name,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
    )
    given = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=given)
    assert s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"] == given


def test_nobody_but_the_owner_pays(world: World, bucket: str) -> None:
    s3 = world.client("s3")
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    with pytest.raises(ClientError, match="NotImplemented"):
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})


def test_a_body_out_of_form_and_one_nobody_can_do_are_told_apart(world: World, bucket: str) -> None:
    s3 = world.client("s3")

    def code(rule: dict[str, Any]) -> str:
        whole = {"Status": "Enabled", "Filter": {}, **rule}
        with pytest.raises(ClientError) as caught:
            s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [whole]})
        return str(caught.value.response["Error"]["Code"])

    assert code({"Status": "Perhaps", "Expiration": {"Days": 1}}) == "MalformedXML"
    assert code({"Transitions": [{}]}) == "NotImplemented"
    assert world.sandbox.record.after(0)[-1].why.startswith(
        "a setting of PutBucketLifecycleConfiguration: the emulator"
    )


@pytest.mark.parametrize(
    ("method", "header", "value"),
    [
        ("PUT", "x-amz-write-offset-bytes", "3"),
        ("DELETE", "x-amz-if-match-size", "999"),
        ("DELETE", "x-amz-if-match-last-modified-time", "Wed, 01 Jan 2020 00:00:00 GMT"),
    ],
)
def test_a_header_whose_meaning_would_be_lost_is_refused(
    world: World, bucket: str, method: str, header: str, value: str
) -> None:
    s3 = world.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    answer = send(
        world, method, f"/{bucket}/k", b"new" if method == "PUT" else b"", **{header.replace("-", "_"): value}
    )
    assert (answer.status_code, "<Code>NotImplemented</Code>" in answer.text) == (501, True)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    assert send(world, method, f"/{bucket}/k", b"new" if method == "PUT" else b"").status_code in {200, 204}


@pytest.mark.parametrize("condition", [{"Size": 999}, {"LastModifiedTime": "Wed, 01 Jan 2020 00:00:00 GMT"}])
def test_keys_are_not_deleted_against_a_condition_nobody_asks(
    world: World, bucket: str, condition: dict[str, Any]
) -> None:
    s3 = world.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    with pytest.raises(ClientError, match="NotImplemented"):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", **condition}]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    assert s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})["Deleted"] == [{"Key": "k"}]
