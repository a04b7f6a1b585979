"""The fixtures a user gets, as a user's own test run: a file, a pytest process, no conftest of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TEST = """
import os, subprocess, sys
import boto3, pytest
from botocore.exceptions import ClientError

READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/raw/*"}
WRITE = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::lake/raw/*"}

@pytest.fixture(autouse=True)
def lake(towpath_sandbox_environment):
    s3 = boto3.client("s3")
    if not s3.list_buckets()["Buckets"]:
        s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

def code(call):
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]

def test_a_role_may_what_its_policy_says_and_no_more(towpath_role):
    towpath_role([READ, WRITE])
    s3 = boto3.client("s3")
    s3.put_object(Bucket="lake", Key="raw/a", Body=b"x")
    assert s3.get_object(Bucket="lake", Key="raw/a")["Body"].read() == b"x"
    assert code(lambda: s3.delete_object(Bucket="lake", Key="raw/a")) == "AccessDenied"
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(os.environ)

def test_another_policy_is_another_role(towpath_role, towpath_sandbox):
    first = towpath_role(READ)
    second = towpath_role({"Version": "2012-10-17", "Statement": [WRITE]})
    assert first["AWS_ROLE_ARN"] != second["AWS_ROLE_ARN"]
    assert code(lambda: boto3.client("s3").get_object(Bucket="lake", Key="raw/a")) == "AccessDenied"
    script = "import boto3; boto3.client('s3').get_object(Bucket='lake', Key='raw/a')"
    assert subprocess.run([sys.executable, "-c", script], env={**os.environ, **first}).returncode == 0

def test_roles_go_with_their_test(towpath_sandbox_environment):
    names = [role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]]
    assert not [name for name in names if name.startswith("towpath-role-")]
"""


def test_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr
