"""Away with what a run made: found by its name and by its tag, never by anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from tools.aws.side import NAME, TAG, Side


def sweep(side: Side, *, run: str | None = None, on_event: Callable[[str], None] = lambda _: None) -> list[str]:
    """Remove what the run `run` made, or what any run made that carries the tag. Gives what is left, with the reason.

    A name of this run is proof enough, since the run drew it; of an unknown run only name and tag together are.
    """
    left: list[str] = []
    for kind, name, remove, tags in _found(side, run or NAME):
        if run is None and not _tagged(tags):
            left.append(f"{kind} {name}: it is named as ours and has no tag {TAG}")
            continue
        try:
            remove()
            on_event(f"removed {kind} {name}")
        except ClientError as error:
            left.append(f"{kind} {name}: {error}")
    return left


Found = tuple[str, str, Callable[[], object], Callable[[], list[dict[str, str]]]]


def _found(side: Side, prefix: str) -> Iterator[Found]:
    """Roles before the policies they use."""
    iam, s3 = side.client("iam"), side.client("s3")
    for role in _pages(iam, "list_roles", "Roles"):
        name = str(role["RoleName"])
        if name.startswith(prefix):
            yield "role", name, lambda n=name: _role(iam, n), lambda n=name: iam.list_role_tags(RoleName=n)["Tags"]
    for user in _pages(iam, "list_users", "Users"):
        name = str(user["UserName"])
        if name.startswith(prefix):
            yield "user", name, lambda n=name: _user(iam, n), lambda n=name: iam.list_user_tags(UserName=n)["Tags"]
    for policy in _pages(iam, "list_policies", "Policies", Scope="Local"):
        name, arn = str(policy["PolicyName"]), str(policy["Arn"])
        if name.startswith(prefix):
            yield (
                "policy",
                name,
                lambda a=arn: iam.delete_policy(PolicyArn=a),
                lambda a=arn: iam.list_policy_tags(PolicyArn=a)["Tags"],
            )
    for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        arn = str(provider["Arn"])
        tags = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn).get("Tags", [])
        # A provider has no name of ours: the tag alone tells, and the whole of it.
        if any(tag["Key"] == TAG and tag["Value"].startswith(prefix) for tag in tags):
            yield (
                "provider",
                arn.partition("/")[2],
                lambda a=arn: iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=a),
                lambda t=tags: t,
            )
    for bucket in s3.list_buckets()["Buckets"]:
        name = str(bucket["Name"])
        if name.startswith(prefix):
            yield "bucket", name, lambda n=name: _bucket(s3, n), lambda n=name: _bucket_tags(s3, n)


def _tagged(tags: Callable[[], list[dict[str, str]]]) -> bool:
    try:
        return any(tag["Key"] == TAG for tag in tags())
    except ClientError:
        return False


def _pages(client: Any, operation: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
    """All of them at once: what is removed between two pages could move the others past a marker that counts."""
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page[key]]


def _role(iam: Any, name: str) -> None:
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=name)


def _user(iam: Any, name: str) -> None:
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
        iam.delete_user_policy(UserName=name, PolicyName=policy)
    iam.delete_user(UserName=name)


def _bucket(s3: Any, name: str) -> None:
    for upload in s3.list_multipart_uploads(Bucket=name).get("Uploads", ()):
        s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            s3.delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])
    s3.delete_bucket(Bucket=name)


def _bucket_tags(s3: Any, name: str) -> list[dict[str, str]]:
    return list(s3.get_bucket_tagging(Bucket=name)["TagSet"])
