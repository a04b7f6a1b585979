"""What an S3 request needs beside its own permission: for tags, ACLs, locks, versions, sources. Allowed with it, refused without."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from .conftest import World, numbers

Code = Callable[[Callable[[], Any]], str]
LATER = datetime.now(UTC) + timedelta(days=10)
TAGS = {"TagSet": [{"Key": "team", "Value": "a"}]}
SOURCE = {"CopySource": "{bucket}/raw/present"}
UPLOAD = {"Key": "raw/multi", "UploadId": "{upload}"}

# Call, its arguments ({bucket}, {version}, {upload} filled in), and every permission it needs.
CASES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "put with tags": ("put_object", {"Key": "k", "Tagging": "a=b"}, ["PutObject", "PutObjectTagging"]),
    "put with an ACL": ("put_object", {"Key": "k", "ACL": "private"}, ["PutObject", "PutObjectAcl"]),
    "put under a lock": (
        "put_object",
        {"Key": "k", "ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": LATER, "ChecksumAlgorithm": "SHA256"},
        ["PutObject", "PutObjectRetention"],
    ),
    "put with a legal hold": (
        "put_object",
        {"Key": "k", "ObjectLockLegalHoldStatus": "OFF", "ChecksumAlgorithm": "SHA256"},
        ["PutObject", "PutObjectLegalHold"],
    ),
    "get a version": ("get_object", {"Key": "raw/present", "VersionId": "{version}"}, ["GetObjectVersion"]),
    "head a version": ("head_object", {"Key": "raw/present", "VersionId": "{version}"}, ["GetObjectVersion"]),
    "tags of a version": ("get_object_tagging", {"Key": "raw/present", "VersionId": "{version}"}, ["GetObjectVersionTagging"]),
    "tag a version": ("put_object_tagging", {"Key": "raw/present", "VersionId": "{version}", "Tagging": TAGS}, ["PutObjectVersionTagging"]),
    "untag a version": ("delete_object_tagging", {"Key": "raw/present", "VersionId": "{version}"}, ["DeleteObjectVersionTagging"]),
    "delete a version": ("delete_object", {"Key": "raw/present", "VersionId": "{version}"}, ["DeleteObjectVersion"]),
    "delete past governance": (
        "delete_object",
        {"Key": "raw/present", "BypassGovernanceRetention": True},
        ["DeleteObject", "BypassGovernanceRetention"],
    ),
    "attributes": (
        "get_object_attributes",
        {"Key": "raw/present", "ObjectAttributes": ["ObjectSize"]},
        ["GetObjectAttributes", "GetObject"],
    ),
    "attributes of a version": (
        "get_object_attributes",
        {"Key": "raw/present", "ObjectAttributes": ["ObjectSize"], "VersionId": "{version}"},
        ["GetObjectVersionAttributes", "GetObjectVersion"],
    ),
    "retention": ("put_object_retention", {"Key": "raw/present", "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": LATER}}, ["PutObjectRetention"]),
    "retention past governance": (
        "put_object_retention",
        {"Key": "raw/present", "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": LATER}, "BypassGovernanceRetention": True},
        ["PutObjectRetention", "BypassGovernanceRetention"],
    ),
    "legal hold": ("put_object_legal_hold", {"Key": "raw/present", "LegalHold": {"Status": "OFF"}}, ["PutObjectLegalHold"]),
    "copy": ("copy_object", {"Key": "k", **SOURCE}, ["PutObject", "GetObject"]),
    "copy of a version": ("copy_object", {"Key": "k", "CopySource": "{bucket}/raw/present?versionId={version}"}, ["PutObject", "GetObjectVersion"]),
    "copy of tags": ("copy_object", {"Key": "k", "CopySource": "{bucket}/raw/tagged"}, ["PutObject", "GetObject", "GetObjectTagging", "PutObjectTagging"]),
    "copy with other tags": (
        "copy_object",
        {"Key": "k", "CopySource": "{bucket}/raw/tagged", "TaggingDirective": "REPLACE", "Tagging": "a=b"},
        ["PutObject", "GetObject", "PutObjectTagging"],
    ),
    "a part": ("upload_part", {**UPLOAD, "PartNumber": 1, "Body": b"x"}, ["PutObject"]),
    "a part copied": ("upload_part_copy", {**UPLOAD, "PartNumber": 1, **SOURCE}, ["PutObject", "GetObject"]),
    "parts": ("list_parts", UPLOAD, ["ListMultipartUploadParts"]),
    "an upload aborted": ("abort_multipart_upload", UPLOAD, ["AbortMultipartUpload"]),
    "a tagged upload": ("create_multipart_upload", {"Key": "k", "Tagging": "a=b"}, ["PutObject", "PutObjectTagging"]),
    "bucket encryption": ("get_bucket_encryption", {}, ["GetEncryptionConfiguration"]),
    "lifecycle": (
        "put_bucket_lifecycle_configuration",
        {"LifecycleConfiguration": {"Rules": [{"ID": "x", "Status": "Enabled", "Prefix": "x", "Expiration": {"Days": 1}}]}},
        ["PutLifecycleConfiguration"],
    ),
    "lifecycle gone": ("delete_bucket_lifecycle", {}, ["PutLifecycleConfiguration"]),
    "bucket tags gone": ("delete_bucket_tagging", {}, ["PutBucketTagging"]),
    "policy": ("get_bucket_policy_status", {}, ["GetBucketPolicyStatus"]),
    "lock configuration": ("get_object_lock_configuration", {}, ["GetBucketObjectLockConfiguration"]),
}  # fmt: skip
THEN = {"policy": "NoSuchBucketPolicy"}  # what is allowed and then is not there


@pytest.fixture
def versioned(world: World) -> dict[str, str]:
    """A versioned bucket with Object Lock, an object of one version, a tagged one, and an upload begun."""
    s3 = world.client("s3")
    name = f"versioned-{next(numbers)}"
    s3.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}, ObjectLockEnabledForBucket=True
    )
    version = s3.put_object(Bucket=name, Key="raw/present", Body=b"here")["VersionId"]
    s3.put_object(Bucket=name, Key="raw/tagged", Body=b"x", Tagging="team=a")
    upload = s3.create_multipart_upload(Bucket=name, Key="raw/multi")["UploadId"]
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    return {"bucket": name, "version": version, "upload": upload}


def _filled(value: Any, found: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**found)
    return {key: _filled(each, found) for key, each in value.items()} if isinstance(value, dict) else value


def client(world: World, actions: list[str]) -> Any:
    name = f"needs-{next(numbers)}"
    world.role(name, {"Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": "*"})
    return world.client("s3", world.session(name))


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_permission_is_needed_and_no_other(
    world: World, versioned: dict[str, str], code: Code, case: str
) -> None:
    call, arguments, actions = CASES[case]
    arguments = {"Bucket": versioned["bucket"], **_filled(arguments, versioned)}
    for missing in actions:
        rest = [action for action in actions if action != missing]
        refusal = code(lambda rest=rest: getattr(client(world, [*rest, "ListBucket"]), call)(**arguments))
        if call.startswith("head"):
            assert refusal == "403: Forbidden"
        else:
            assert refusal.startswith("AccessDenied: ")
            assert f"is not authorized to perform: s3:{missing} on resource" in refusal
    allowed = client(world, actions)
    if case in THEN:
        assert code(lambda: getattr(allowed, call)(**arguments)).startswith(THEN[case])
    else:
        getattr(allowed, call)(**arguments)


def test_new_bucket_with_more_than_a_name(world: World, code: Code) -> None:
    location = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    for more, actions in (
        ({}, []),
        ({"ObjectLockEnabledForBucket": True}, ["PutBucketObjectLockConfiguration", "PutBucketVersioning"]),
        ({"ObjectOwnership": "BucketOwnerPreferred"}, ["PutBucketOwnershipControls"]),
        (
            {"ObjectOwnership": "BucketOwnerPreferred", "ACL": "log-delivery-write"},
            ["PutBucketOwnershipControls", "PutBucketAcl"],
        ),
    ):
        for missing in actions:
            rest = [action for action in ["CreateBucket", *actions] if action != missing]
            name = f"made-{next(numbers)}"
            call = partial(client(world, rest).create_bucket, Bucket=name, **location, **more)
            assert f"s3:{missing}" in code(call)
        s3 = client(world, ["CreateBucket", *actions])
        s3.create_bucket(Bucket=f"made-{next(numbers)}", **location, **more)
    world.role("made-anywhere", {"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*", "Condition": {"StringEquals": {"s3:locationconstraint": "eu-west-1"}}})  # fmt: skip
    s3 = world.client("s3", world.session("made-anywhere"))
    s3.create_bucket(Bucket=f"made-{next(numbers)}", **location)
    other = {"CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}
    assert code(lambda: s3.create_bucket(Bucket=f"made-{next(numbers)}", **other)).startswith("AccessDenied")


def test_replication_passes_its_role(world: World, bucket: str, code: Code) -> None:
    role = "arn:aws:iam::123456789012:role/replicator"
    configuration = {
        "Role": role,
        "Rules": [{"Status": "Enabled", "Prefix": "", "Destination": {"Bucket": f"arn:aws:s3:::{bucket}"}}],
    }
    call = {"Bucket": bucket, "ReplicationConfiguration": configuration}
    put = {"Effect": "Allow", "Action": "s3:PutReplicationConfiguration", "Resource": "*"}
    passing = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": role,
        "Condition": {"StringEquals": {"iam:PassedToService": "s3.amazonaws.com"}},
    }
    world.role("replicates-not", put)
    assert f'iam:PassRole on resource: "{role}"' in code(
        lambda: world.client("s3", world.session("replicates-not")).put_bucket_replication(**call)
    )
    world.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    world.role("replicates", put, passing)
    world.client("s3", world.session("replicates")).put_bucket_replication(**call)


@pytest.mark.parametrize("call", ["get_object", "head_object", "get_object_tagging", "copy_object"])
def test_absent_key_is_told_to_who_may_list(world: World, bucket: str, code: Code, call: str) -> None:
    arguments: dict[str, Any] = {"Bucket": bucket, "Key": "raw/absent"}
    if call == "copy_object":
        arguments = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/raw/absent"}
    actions = ["GetObject", "GetObjectTagging", "PutObject"]
    absent = code(lambda: getattr(client(world, [*actions, "ListBucket"]), call)(**arguments))
    assert absent.startswith(("NoSuchKey", "404"))
    refusal = code(lambda: getattr(client(world, actions), call)(**arguments))
    if call == "head_object":
        assert refusal == "403: Forbidden"
    else:
        assert refusal.startswith("AccessDenied: ")
        assert refusal.endswith(
            f's3:ListBucket on resource: "arn:aws:s3:::{bucket}" because no identity-based policy allows the s3:ListBucket action'
        )


@pytest.mark.parametrize(
    ("call", "arguments", "condition", "holds"),
    [
        ("put_object", {"Tagging": "team=a"}, {"StringEquals": {"s3:RequestObjectTag/team": "a"}}, True),
        ("put_object", {"Tagging": "team=b"}, {"StringEquals": {"s3:RequestObjectTag/team": "a"}}, False),
        ("put_object", {"Tagging": "a=1&b=2"}, {"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a", "b"]}}, True),
        ("put_object", {"Tagging": "a=1&c=2"}, {"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a", "b"]}}, False),
        ("put_object_tagging", {"Tagging": TAGS}, {"StringEquals": {"s3:RequestObjectTag/team": "a"}}, True),
        ("put_object_tagging", {"Tagging": TAGS}, {"StringEquals": {"s3:RequestObjectTag/team": "b"}}, False),
        ("put_object", {"ServerSideEncryption": "AES256"}, {"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}, True),
        ("put_object", {}, {"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}, False),
        ("put_object", {"StorageClass": "STANDARD_IA"}, {"StringEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}}, True),
        ("put_object", {"ACL": "private"}, {"StringEquals": {"s3:x-amz-acl": "private"}}, True),
        ("put_object", {}, {"StringEquals": {"s3:x-amz-acl": "private"}}, False),
        ("put_object", {"IfNoneMatch": "*"}, {"Null": {"s3:if-none-match": "false"}}, True),
        ("put_object", {}, {"Null": {"s3:if-none-match": "false"}}, False),
        ("put_object", {}, {"Bool": {"s3:ObjectCreationOperation": "true"}}, True),
        ("create_multipart_upload", {}, {"Bool": {"s3:ObjectCreationOperation": "true"}}, False),
        ("copy_object", {"CopySource": "{bucket}/raw/present"}, {"StringLike": {"s3:x-amz-copy-source": "{bucket}/raw/*"}}, True),
        ("copy_object", {"CopySource": "{bucket}/raw/present"}, {"StringLike": {"s3:x-amz-copy-source": "{bucket}/other/*"}}, False),
        ("copy_object", {"CopySource": "{bucket}/raw/present", "MetadataDirective": "REPLACE"}, {"StringEquals": {"s3:x-amz-metadata-directive": "REPLACE"}}, True),
        ("list_objects_v2", {"Prefix": "raw/", "Delimiter": "/", "MaxKeys": 5}, {"StringEquals": {"s3:prefix": "raw/", "s3:delimiter": "/"}, "NumericLessThanEquals": {"s3:max-keys": "10"}}, True),
        ("list_objects_v2", {"MaxKeys": 50}, {"NumericLessThanEquals": {"s3:max-keys": "10"}}, False),
        ("list_object_versions", {"Prefix": "raw/"}, {"StringEquals": {"s3:prefix": "raw/"}}, True),
        ("get_object", {"VersionId": "null"}, {"StringEquals": {"s3:VersionId": "null"}}, True),
        ("get_object", {"VersionId": "null"}, {"StringEquals": {"s3:VersionId": "other"}}, False),
    ],
    ids=str,
)  # fmt: skip
def test_condition_keys_of_the_request(
    world: World, bucket: str, code: Code, call: str, arguments: dict[str, Any], condition: dict[str, Any], holds: bool
) -> None:
    found = {"bucket": bucket}
    arguments = {"Bucket": bucket, **_filled(arguments, found)}
    if not call.startswith("list"):
        arguments["Key"] = "raw/present" if call in {"get_object", "put_object_tagging"} else "new"
    action = {
        "put_object_tagging": "PutObjectTagging",
        "list_objects_v2": "ListBucket",
        "list_object_versions": "ListBucketVersions",
        "get_object": "GetObjectVersion",
    }.get(call, "PutObject")
    also = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObjectTagging", "s3:PutObjectAcl"], "Resource": "*"}
    if call == "put_object_tagging":
        also["Action"] = "s3:GetObject"
    name = f"condition-{next(numbers)}"
    text = json.loads(json.dumps(condition).replace("{bucket}", bucket))
    world.role(name, {"Effect": "Allow", "Action": f"s3:{action}", "Resource": "*", "Condition": text}, also)
    s3 = world.client("s3", world.session(name))
    if holds:
        getattr(s3, call)(**arguments)
    else:
        getattr(world.client("s3"), call)(**arguments)
        assert code(lambda: getattr(s3, call)(**arguments)).startswith("AccessDenied")


def test_principal_and_request_tags(world: World, bucket: str, code: Code) -> None:
    """ABAC: a role's tags as aws:PrincipalTag, the tags a call brings as aws:RequestTag and aws:TagKeys."""
    own = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*",
    }
    for team, allowed in (("raw", True), ("other", False)):
        name = f"tagged-{next(numbers)}"
        world.role(name, own, Tags=[{"Key": "team", "Value": team}])
        s3 = world.client("s3", world.session(name))
        if allowed:
            assert s3.get_object(Bucket=bucket, Key="raw/present")["Body"].read() == b"here"
        else:
            assert code(lambda s3=s3: s3.get_object(Bucket=bucket, Key="raw/present")).startswith("AccessDenied")
    condition = {"StringEquals": {"aws:RequestTag/team": "a"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    world.role("tags-roles", {"Effect": "Allow", "Action": ["iam:CreateRole", "iam:TagRole"], "Resource": "*", "Condition": condition})  # fmt: skip
    iam = world.client("iam", world.session("tags-roles"))
    trust = json.dumps(world.trust())
    for tags, allowed in (
        ([{"Key": "team", "Value": "a"}], True),
        ([{"Key": "team", "Value": "b"}], False),
        ([{"Key": "team", "Value": "a"}, {"Key": "more", "Value": "x"}], False),
        ([], False),
    ):
        name = f"made-{next(numbers)}"
        call = partial(iam.create_role, RoleName=name, AssumeRolePolicyDocument=trust, Tags=tags)
        if allowed:
            assert call()["Role"]["Arn"]
        else:
            assert code(call).startswith("AccessDenied")
