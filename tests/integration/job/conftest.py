"""A role that may write one bucket, a way to run an attempt under it, and an independent reader of what arrived."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest

from towpath.agent.launchers.process import Token, run_attempt
from towpath.iam import build
from towpath.job.attempt import AttemptSpec
from towpath.job.pipeline import parse_pipelines
from towpath.job.result import Result
from towpath.sandbox.main import Sandbox

_numbers = itertools.count()


@dataclass(frozen=True)
class Lake:
    """One bucket and the role that may use it."""

    sandbox: Sandbox
    bucket: str
    role_arn: str
    directory: Path

    def spec(self, source: dict[str, Any], **more: Any) -> AttemptSpec:
        given = {
            "name": "orders",
            "source": source,
            "destination": {"s3": {"bucket": self.bucket, "prefix": "raw/"}},
            **more.pop("pipeline", {}),
        }
        pipeline = parse_pipelines({"pipelines": [given]}, source="test")[0]
        return AttemptSpec(
            **{
                "pipeline": pipeline,
                "sync": f"s{next(_numbers)}",  # each run a sync of its own unless a test says otherwise
                "role_arn": self.role_arn,
                "region": "eu-west-1",
                "endpoint_url": self.sandbox.endpoint,
                **more,
            }
        )

    def token(self, service_account: str = "hd-job-sa", expires_in: int = 600) -> Token:
        cluster = self.sandbox.clusters.named("sandbox")
        assert cluster is not None
        return Token(
            text=cluster.token("data", service_account, audiences=None, expires_in=expires_in)[0], lifetime=expires_in
        )

    def run(self, source: dict[str, Any], **more: Any) -> Result:
        extra = more.pop("extra", None)
        return run_attempt(self.spec(source, **more), token=self.token, extra=extra)

    def limit(self, policy: dict[str, Any]) -> None:
        """The role's only policy from now on."""
        role = self.role_arn.rpartition("/")[2]
        iam: Any = boto3.session.Session().client("iam", region_name="eu-west-1")
        iam.put_role_policy(RoleName=role, PolicyName="lake", PolicyDocument=json.dumps(policy))

    def keys(self) -> list[str]:
        return [item["Key"] for item in self.s3().list_objects_v2(Bucket=self.bucket).get("Contents", ())]

    def s3(self) -> Any:
        environment = self.sandbox.aws_environment()
        session: Any = boto3.session.Session()
        return session.client(
            "s3", endpoint_url=self.sandbox.endpoint, region_name="eu-west-1",
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"], aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip

    def read(self, table: str, query: str = "SELECT * FROM t ORDER BY 1") -> list[tuple[Any, ...]]:
        """What arrived of a table, through DuckDB."""
        paths: list[str] = []
        for number, key in enumerate(key for key in self.keys() if f"/{table}/" in key and key.endswith(".parquet")):
            path = self.directory / f"{table}-{number}.parquet"
            path.write_bytes(self.s3().get_object(Bucket=self.bucket, Key=key)["Body"].read())
            paths.append(str(path))
        with duckdb.connect() as database:
            database.execute(f"CREATE TABLE t AS SELECT * FROM read_parquet({paths!r})")
            return database.execute(query).fetchall()


@pytest.fixture
def lake(towpath_sandbox: Sandbox, towpath_sandbox_environment: dict[str, str], tmp_path: Path) -> Lake:
    name = f"{os.getpid()}-{next(_numbers)}"
    session: Any = boto3.session.Session()
    iam, s3 = (
        session.client("iam", region_name="eu-west-1"),
        session.client("s3", region_name="eu-west-1"),
    )
    cluster = towpath_sandbox.clusters.named("sandbox")
    assert cluster is not None
    issuer = cluster.issuer_url
    provider = f"arn:aws:iam::123456789012:oidc-provider/{issuer.removeprefix('https://')}"
    if provider not in [item["Arn"] for item in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]:
        iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
    statement = build.web_identity_statement(
        sid="t",
        provider_arn=provider,
        issuer=issuer,
        subjects=["system:serviceaccount:data:hd-job-sa"],
        audience="sts.amazonaws.com",
    )
    bucket, role = f"lake-job-{name}", f"job-{name}"
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(build.policy([statement])))["Role"]["Arn"]
    policy = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    iam.put_role_policy(RoleName=role, PolicyName="lake", PolicyDocument=json.dumps(build.policy([policy])))
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return Lake(sandbox=towpath_sandbox, bucket=bucket, role_arn=arn, directory=tmp_path)
