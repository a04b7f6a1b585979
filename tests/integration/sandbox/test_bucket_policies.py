"""Bucket policies at every request: whom they let in, whom they keep out, in one account and across two."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import httpx2
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from .conftest import NO_RETRY, World, numbers

Code = Callable[[Callable[[], Any]], str]
HOME, AWAY = "123456789012", "210987654321"


def client(world: World, service: str, key: tuple[str, str], **config: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=world.sandbox.endpoint,
        region_name="eu-west-1",
        config=NO_RETRY.merge(Config(**config)),
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
    )


def root(world: World, account: str) -> tuple[str, str]:
    key = world.sandbox.account(account)
    return key.access_key, key.secret


def user(world: World, account: str, *statements: dict[str, Any]) -> tuple[str, tuple[str, str]]:
    """A new IAM user of an account with one inline policy: its ARN and its key."""
    iam = client(world, "iam", root(world, account))
    name = f"user-{next(numbers)}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=document)
    found = iam.create_access_key(UserName=name)["AccessKey"]
    return arn, (found["AccessKeyId"], found["SecretAccessKey"])


def allow(action: str, resource: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def put(world: World, bucket: str, *statements: dict[str, Any], account: str = HOME) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    client(world, "s3", root(world, account)).put_bucket_policy(Bucket=bucket, Policy=document)


def read(world: World, key: tuple[str, str], bucket: str, **more: Any) -> bytes:
    return client(world, "s3", key).get_object(Bucket=bucket, Key="raw/present", **more)["Body"].read()


# --- one account ---------------------------------------------------------------------------------------------------


def test_bucket_policy_alone_lets_a_user_in(world: World, bucket: str, code: Code) -> None:
    arn, key = user(world, HOME)
    objects = f"arn:aws:s3:::{bucket}/*"
    refusal = code(lambda: read(world, key, bucket))
    assert refusal == (
        f"AccessDenied: User: {arn} is not authorized to perform: s3:GetObject on resource: "
        f'"arn:aws:s3:::{bucket}/raw/present" because no identity-based policy allows the s3:GetObject action'
    )
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": arn}))
    assert read(world, key, bucket) == b"here"
    client(world, "s3", root(world, HOME)).delete_bucket_policy(Bucket=bucket)
    assert code(lambda: read(world, key, bucket)).startswith("AccessDenied")


def test_policy_that_names_the_account_gives_its_users_nothing(world: World, bucket: str, code: Code) -> None:
    arn, key = user(world, HOME)
    objects = f"arn:aws:s3:::{bucket}/*"
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": arn}))
    assert read(world, key, bucket)
    other, _ = user(world, HOME)
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": other}))
    assert code(lambda: read(world, key, bucket)).startswith("AccessDenied")


def test_explicit_deny_of_the_bucket(world: World, bucket: str, code: Code) -> None:
    objects = f"arn:aws:s3:::{bucket}/*"
    arn, key = user(world, HOME, allow("s3:*", "*"))
    assert read(world, key, bucket) == b"here"
    put(world, bucket, {**allow("s3:GetObject", objects, Principal={"AWS": arn}), "Effect": "Deny"})
    assert code(lambda: read(world, key, bucket)) == (
        f"AccessDenied: User: {arn} is not authorized to perform: s3:GetObject on resource: "
        f'"arn:aws:s3:::{bucket}/raw/present" with an explicit deny in a resource-based policy'
    )
    assert client(world, "s3", key).list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_root_is_denied_like_everybody_and_can_mend_the_policy(world: World, bucket: str, code: Code) -> None:
    key = root(world, HOME)
    _, admin = user(world, HOME, allow("*", "*"))
    assert read(world, key, bucket)
    locked = {"Effect": "Deny", "Principal": {"AWS": HOME}, "Action": "s3:*"}
    put(world, bucket, {**locked, "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]})
    assert "explicit deny in a resource-based policy" in code(lambda: read(world, key, bucket))
    assert code(lambda: client(world, "s3", admin).delete_bucket_policy(Bucket=bucket)).startswith("AccessDenied")
    assert code(lambda: client(world, "s3", key).delete_bucket(Bucket=bucket)).startswith("AccessDenied")
    s3 = client(world, "s3", key)
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Effect"] == "Deny"
    s3.delete_bucket_policy(Bucket=bucket)
    assert read(world, key, bucket) == b"here"
    assert client(world, "s3", admin).list_objects_v2(Bucket=bucket)


def test_tls_can_be_asked_for(world: World, bucket: str, code: Code) -> None:
    _, key = user(world, HOME, allow("s3:*", "*"))
    assert read(world, key, bucket)
    put(
        world,
        bucket,
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )
    assert "explicit deny in a resource-based policy" in code(lambda: read(world, key, bucket))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, True),
        ({"StringEquals": {"s3:authType": "POST"}}, False),
        ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, True),
        ({"StringEquals": {"aws:PrincipalAccount": HOME, "s3:ResourceAccount": HOME, "aws:ResourceAccount": HOME}}, True),
        ({"StringEquals": {"s3:ResourceAccount": AWAY}}, False),
        ({"StringLike": {"aws:UserAgent": "Boto3/*"}}, True),
        ({"StringLike": {"aws:UserAgent": "curl/*"}}, False),
        ({"StringEquals": {"aws:PrincipalType": "User"}}, True),
        ({"Bool": {"aws:ViaAWSService": "false", "aws:PrincipalIsAWSService": "false"}}, True),
        ({"Bool": {"aws:MultiFactorAuthPresent": "false"}}, False),
        ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}, True),
        ({"Null": {"aws:TokenIssueTime": "true", "s3:signatureAge": "true", "s3:TlsVersion": "true"}}, True),
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, True),
        ({"StringEquals": {"s3:x-amz-content-sha256": "UNSIGNED-PAYLOAD"}}, False),
        ({"StringEquals": {"s3:ExistingObjectTag/team": "a"}}, True),
        ({"StringEquals": {"s3:ExistingObjectTag/team": "b"}}, False),
        ({"Null": {"s3:ExistingObjectTag/other": "true"}}, True),
    ],
    ids=json.dumps,
)  # fmt: skip
def test_condition_keys(world: World, bucket: str, code: Code, condition: dict[str, Any], holds: bool) -> None:
    arn, key = user(world, HOME)
    client(world, "s3", root(world, HOME)).put_object_tagging(
        Bucket=bucket, Key="raw/present", Tagging={"TagSet": [{"Key": "team", "Value": "a"}]}
    )
    objects = f"arn:aws:s3:::{bucket}/*"
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": arn}))
    assert read(world, key, bucket) == b"here"
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": arn}, Condition=condition))
    if holds:
        assert read(world, key, bucket) == b"here"
    else:
        assert code(lambda: read(world, key, bucket)).startswith("AccessDenied")


def test_presigned_url_is_told_from_a_header(world: World, bucket: str) -> None:
    arn, key = user(world, HOME)
    objects = f"arn:aws:s3:::{bucket}/*"
    s3 = client(world, "s3", key, signature_version="s3v4")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "raw/present"})
    for condition, status in (
        ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}, "NumericLessThan": {"s3:signatureAge": "600000"}}, 200),
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, 403),
        ({"NumericGreaterThan": {"s3:signatureAge": "600000"}}, 403),
    ):
        put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": arn}, Condition=condition))
        assert httpx2.get(url, trust_env=False).status_code == status, condition


# --- two accounts --------------------------------------------------------------------------------------------------


def test_across_accounts_both_sides_have_to_allow(world: World, bucket: str, code: Code) -> None:
    objects = f"arn:aws:s3:::{bucket}/*"
    arn, both = user(world, AWAY, allow("s3:GetObject", objects))
    bare, own_side_missing = user(world, AWAY)
    assert code(lambda: read(world, both, bucket)) == "AccessDenied: Access Denied"
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": [arn, bare]}))
    assert read(world, both, bucket) == b"here"
    assert code(lambda: read(world, own_side_missing, bucket)) == "AccessDenied: Access Denied"
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": AWAY}))
    assert read(world, both, bucket) == b"here"
    put(world, bucket, allow("s3:PutObject", objects, Principal={"AWS": AWAY}))
    assert code(lambda: read(world, both, bucket)) == "AccessDenied: Access Denied"


def test_foreign_root_needs_the_bucket_policy_too(world: World, bucket: str, code: Code) -> None:
    key = root(world, AWAY)
    objects = f"arn:aws:s3:::{bucket}/*"
    assert code(lambda: read(world, key, bucket)) == "AccessDenied: Access Denied"
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": AWAY}))
    assert read(world, key, bucket) == b"here"
    assert code(lambda: client(world, "s3", key).delete_bucket_policy(Bucket=bucket)) == "AccessDenied: Access Denied"


def test_buckets_belong_to_their_account(world: World, bucket: str, code: Code) -> None:
    home, away = client(world, "s3", root(world, HOME)), client(world, "s3", root(world, AWAY))
    name = f"away-{next(numbers)}"
    location = {"LocationConstraint": "eu-west-1"}
    away.create_bucket(Bucket=name, CreateBucketConfiguration=location)
    away.put_object(Bucket=name, Key="raw/present", Body=b"away")
    assert name in [item["Name"] for item in away.list_buckets()["Buckets"]]
    assert name not in [item["Name"] for item in home.list_buckets()["Buckets"]]
    assert bucket not in [item["Name"] for item in away.list_buckets()["Buckets"]]
    assert code(lambda: home.create_bucket(Bucket=name, CreateBucketConfiguration=location)).startswith(
        "BucketAlreadyExists"
    )
    assert code(lambda: home.list_objects_v2(Bucket=name)) == "AccessDenied: Access Denied"
    # Objects put there by another account are the bucket's account's to read.
    put(world, name, allow("s3:PutObject", f"arn:aws:s3:::{name}/*", Principal={"AWS": HOME}), account=AWAY)
    home.put_object(Bucket=name, Key="from-home", Body=b"gift")
    assert away.get_object(Bucket=name, Key="from-home")["Body"].read() == b"gift"
    away.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "raw/present"}, {"Key": "from-home"}]})
    away.delete_bucket(Bucket=name)
    # The name is free again, and with it everything that was known of the bucket.
    home.create_bucket(Bucket=name, CreateBucketConfiguration=location)
    assert code(lambda: away.put_object(Bucket=name, Key="x", Body=b"")) == "AccessDenied: Access Denied"
    home.delete_bucket(Bucket=name)


def test_copy_across_accounts_needs_both_buckets(world: World, bucket: str, code: Code) -> None:
    away = client(world, "s3", root(world, AWAY))
    name = f"target-{next(numbers)}"
    away.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    arguments = {"Bucket": name, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "raw/present"}}
    assert code(lambda: away.copy_object(**arguments)) == "AccessDenied: Access Denied"
    put(world, bucket, allow("s3:GetObject", f"arn:aws:s3:::{bucket}/raw/*", Principal={"AWS": AWAY}))
    away.copy_object(**arguments)
    assert away.get_object(Bucket=name, Key="copy")["Body"].read() == b"here"


@pytest.mark.parametrize("header", ["ExpectedBucketOwner", "ExpectedSourceBucketOwner"])
def test_bucket_owner_condition(world: World, bucket: str, code: Code, header: str) -> None:
    s3 = client(world, "s3", root(world, HOME))
    if header == "ExpectedBucketOwner":
        call: Callable[..., Any] = lambda **more: s3.get_object(Bucket=bucket, Key="raw/present", **more)  # noqa: E731
    else:
        source = {"Bucket": bucket, "Key": "raw/present"}
        call = lambda **more: s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, **more)  # noqa: E731
    assert call(**{header: HOME})
    assert code(lambda: call(**{header: AWAY})) == "AccessDenied: Access Denied"
    assert code(lambda: call(**{header: "me"})).startswith("InvalidBucketOwnerAWSAccountID")


# --- public --------------------------------------------------------------------------------------------------------


def anonymous(world: World) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=world.sandbox.endpoint,
        region_name="eu-west-1",
        config=NO_RETRY.merge(Config(signature_version=UNSIGNED)),
    )


def open_up(world: World, bucket: str, **settings: bool) -> None:
    client(world, "s3", root(world, HOME)).put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(("BlockPublicPolicy", "RestrictPublicBuckets"), False) | settings
    )  # fmt: skip


def test_public_policy_is_blocked_until_somebody_opens_the_bucket(world: World, bucket: str, code: Code) -> None:
    s3 = client(world, "s3", root(world, HOME))
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True,
    }  # fmt: skip
    public = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal="*")
    assert code(lambda: put(world, bucket, public)) == (
        f"AccessDenied: User: arn:aws:iam::{HOME}:root is not authorized to perform: s3:PutBucketPolicy on resource: "
        f'"arn:aws:s3:::{bucket}" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.'
    )
    open_up(world, bucket)
    put(world, bucket, public)
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True


def test_anonymous_reads_what_a_public_policy_gives_and_no_more(world: World, bucket: str, code: Code) -> None:
    s3 = anonymous(world)
    assert code(lambda: s3.get_object(Bucket=bucket, Key="raw/present")) == "AccessDenied: Access Denied"
    open_up(world, bucket)
    put(world, bucket, allow("s3:GetObject", f"arn:aws:s3:::{bucket}/raw/*", Principal="*"))
    assert s3.get_object(Bucket=bucket, Key="raw/present")["Body"].read() == b"here"
    assert code(lambda: s3.put_object(Bucket=bucket, Key="raw/x", Body=b"")) == "AccessDenied: Access Denied"
    assert code(lambda: s3.list_objects_v2(Bucket=bucket)) == "AccessDenied: Access Denied"
    # Nobody who may not list is told that a key is free.
    assert code(lambda: s3.get_object(Bucket=bucket, Key="raw/absent")) == "AccessDenied: Access Denied"
    assert code(s3.list_buckets) == "AccessDenied: Access Denied"
    answer = httpx2.get(
        f"{world.sandbox.endpoint}/{bucket}/raw/present?response-content-type=text/html", trust_env=False
    )
    assert (answer.status_code, "<Code>InvalidRequest</Code>" in answer.text) == (400, True)
    # RestrictPublicBuckets keeps the policy, and everybody but the owner's account out.
    arn, key = user(world, AWAY, allow("s3:GetObject", "*"))
    assert arn
    assert read(world, key, bucket) == b"here"
    open_up(world, bucket, RestrictPublicBuckets=True)
    assert code(lambda: s3.get_object(Bucket=bucket, Key="raw/present")) == "AccessDenied: Access Denied"
    assert code(lambda: read(world, key, bucket)) == "AccessDenied: Access Denied"
    assert read(world, user(world, HOME)[1], bucket) == b"here"


def test_anonymous_denied_explicitly(world: World, bucket: str, code: Code) -> None:
    s3 = anonymous(world)
    open_up(world, bucket)
    public = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal="*")
    put(world, bucket, public)
    assert s3.get_object(Bucket=bucket, Key="raw/present")
    put(world, bucket, public, {**public, "Effect": "Deny", "Resource": f"arn:aws:s3:::{bucket}/raw/*"})
    assert code(lambda: s3.get_object(Bucket=bucket, Key="raw/present")) == "AccessDenied: Access Denied"


def test_a_bucket_that_is_not_there(world: World, code: Code) -> None:
    for s3 in (anonymous(world), client(world, "s3", root(world, HOME))):
        assert code(lambda s3=s3: s3.list_objects_v2(Bucket="no-such-bucket-anywhere")).startswith("NoSuchBucket")


# --- ACLs ----------------------------------------------------------------------------------------------------------


def test_acls_are_disabled_and_public_ones_blocked(world: World, bucket: str, code: Code) -> None:
    s3 = client(world, "s3", root(world, HOME))
    for acl in ("private", "bucket-owner-full-control"):
        assert s3.put_object(Bucket=bucket, Key="acl", Body=b"", ACL=acl)
    disabled = "AccessControlListNotSupported: The bucket does not allow ACLs"
    assert code(lambda: s3.put_object(Bucket=bucket, Key="acl", Body=b"", ACL="public-read")) == disabled
    assert code(lambda: s3.put_object_acl(Bucket=bucket, Key="acl", ACL="public-read")) == disabled
    assert code(lambda: s3.put_bucket_acl(Bucket=bucket, ACL="public-read")) == disabled
    assert code(lambda: s3.put_bucket_acl(Bucket=bucket, GrantRead="uri=http://x")) == disabled
    rules = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    assert s3.put_object(Bucket=bucket, Key="acl", Body=b"", ACL="bucket-owner-read")
    blocked = code(lambda: s3.put_object(Bucket=bucket, Key="acl", Body=b"", ACL="public-read"))
    assert blocked.startswith("AccessDenied: ")
    assert blocked.endswith("are prevented by the BlockPublicAcls setting in S3 Block Public Access.")
    # With both out of the way the ACL is stored, and still lets nobody in: this sandbox judges by policies alone.
    s3.delete_public_access_block(Bucket=bucket)
    assert code(lambda: s3.get_public_access_block(Bucket=bucket)).startswith("NoSuchPublicAccessBlockConfiguration")
    assert s3.put_object(Bucket=bucket, Key="acl", Body=b"", ACL="public-read")
    assert code(lambda: anonymous(world).get_object(Bucket=bucket, Key="acl")) == "AccessDenied: Access Denied"


def test_acl_and_ownership_of_a_new_bucket(world: World, code: Code) -> None:
    s3 = client(world, "s3", root(world, HOME))
    name = f"acl-{next(numbers)}"
    arguments = {"Bucket": name, "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    assert code(lambda: s3.create_bucket(**arguments, ACL="public-read")).startswith(
        "InvalidBucketAclWithObjectOwnership"
    )
    assert code(
        lambda: s3.create_bucket(**arguments, ACL="public-read", ObjectOwnership="BucketOwnerPreferred")
    ).startswith("InvalidBucketAclWithBlockPublicAccessError")
    assert code(lambda: s3.create_bucket(**arguments, ObjectOwnership="Mine")).startswith("InvalidArgument")
    s3.create_bucket(**arguments, ACL="private", ObjectOwnership="BucketOwnerPreferred")
    rules = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerPreferred"}]


def test_malformed_policy_is_refused_and_the_old_one_stays(world: World, bucket: str, code: Code) -> None:
    arn, key = user(world, HOME)
    put(world, bucket, allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal={"AWS": arn}))
    assert read(world, key, bucket)
    refusal = code(lambda: put(world, bucket, allow("s3:GetObject", "*", Principal={"AWS": arn})))
    assert refusal == "MalformedPolicy: Policy has invalid resource"
    missing = {"AWS": f"arn:aws:iam::{HOME}:user/nobody-at-all"}
    refusal = code(lambda: put(world, bucket, allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal=missing)))
    assert refusal == "MalformedPolicy: Invalid principal in policy"
    assert read(world, key, bucket) == b"here"


def test_user_made_anew_is_not_the_one_that_was_let_in(world: World, bucket: str, code: Code) -> None:
    arn, key = user(world, HOME)
    other, other_key = user(world, HOME)
    objects = f"arn:aws:s3:::{bucket}/*"
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": [arn, other]}))
    assert read(world, key, bucket)
    iam, s3 = client(world, "iam", root(world, HOME)), client(world, "s3", root(world, HOME))
    name = arn.rpartition("/")[2]
    unique_id = iam.get_user(UserName=name)["User"]["UserId"]
    iam.delete_access_key(UserName=name, AccessKeyId=key[0])
    iam.delete_user(UserName=name)
    found = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Principal"]["AWS"]
    assert sorted(found) == sorted([unique_id, other])
    iam.create_user(UserName=name)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    again = (made["AccessKeyId"], made["SecretAccessKey"])
    assert code(lambda: read(world, again, bucket)).startswith("AccessDenied")
    assert read(world, other_key, bucket) == b"here"
    # Named once more, it is let in; its old id is no principal anybody can name.
    refusal = code(lambda: put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": unique_id})))
    assert refusal == "MalformedPolicy: Invalid principal in policy"
    put(world, bucket, allow("s3:GetObject", objects, Principal={"AWS": arn}))
    assert read(world, again, bucket) == b"here"
