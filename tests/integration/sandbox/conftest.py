"""A chain that works, as AWS would hold it, made with boto3 by an administrator; each test breaks one thing of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from towpath.sandbox.clusters import Cluster
from towpath.sandbox.main import Sandbox

NO_RETRY = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
AUDIENCE = "sts.amazonaws.com"


@dataclass(frozen=True)
class World:
    """One sandbox and the administrator's clients."""

    sandbox: Sandbox

    @property
    def cluster(self) -> Cluster:
        found = self.sandbox.clusters.named("sandbox")
        assert found is not None
        return found

    @property
    def issuer_host(self) -> str:
        return self.cluster.issuer_url.removeprefix("https://")

    def client(
        self,
        service: str,
        credentials: dict[str, str] | None = None,
        config: Config | None = None,
        region: str | None = None,
        endpoint: str | None = None,
        verify: str | None = None,
    ) -> Any:
        environment = self.sandbox.environment()
        keys = {
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        }
        if credentials is not None:
            keys = {
                "aws_access_key_id": credentials["AccessKeyId"],
                "aws_secret_access_key": credentials["SecretAccessKey"],
                "aws_session_token": credentials["SessionToken"],
            }
        return boto3.client(
            service,
            endpoint_url=endpoint or self.sandbox.endpoint,
            verify=verify,
            region_name=region or environment["AWS_REGION"],
            config=NO_RETRY.merge(config or Config()),
            **keys,
        )

    def exchange(self, token: str, role: str, **more: Any) -> dict[str, Any]:
        """AssumeRoleWithWebIdentity, as an SDK does it: unsigned."""
        sts = self.client("sts", config=Config(signature_version=UNSIGNED))
        arguments = {"RoleArn": role_arn(role), "RoleSessionName": "test", "WebIdentityToken": token, **more}
        return sts.assume_role_with_web_identity(**arguments)

    def token(
        self,
        namespace: str = "data",
        name: str = "hd-job-sa",
        audiences: list[str] | None = None,
        expires_in: int = 3600,
    ) -> str:
        return self.cluster.token(namespace, name, audiences=audiences, expires_in=expires_in)[0]

    def trust(self, **condition: Any) -> dict[str, Any]:
        host = self.issuer_host
        wanted = {f"{host}:sub": "system:serviceaccount:data:hd-job-sa", f"{host}:aud": AUDIENCE} | condition
        return {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{host}"},
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {"StringEquals": wanted},
                }
            ],
        }

    def ensure_provider(self) -> None:
        iam = self.client("iam")
        urls = [
            item["Arn"].partition("/")[2] for item in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
        ]
        if self.issuer_host not in urls:
            iam.create_open_id_connect_provider(Url=self.cluster.issuer_url, ClientIDList=[AUDIENCE])

    def role(self, name: str, *statements: dict[str, Any], trust: dict[str, Any] | None = None, **more: Any) -> str:
        """A role trusted by data/hd-job-sa, with one inline policy of `statements`. Gives its ARN."""
        self.ensure_provider()
        iam = self.client("iam")
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust or self.trust()), **more)[
            "Role"
        ]["Arn"]
        if statements:
            iam.put_role_policy(
                RoleName=name,
                PolicyName="inline",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}),
            )
        return arn

    def session(self, role: str, **more: Any) -> dict[str, str]:
        return self.exchange(self.token(), role, **more)["Credentials"]


def role_arn(name: str) -> str:
    return f"arn:aws:iam::123456789012:role/{name}"


@pytest.fixture(scope="session")
def world(towpath_sandbox: Sandbox) -> World:
    return World(towpath_sandbox)


@pytest.fixture
def bucket(world: World) -> str:
    s3 = world.client("s3")
    name = f"lake-{id(world) % 1000}-{next(numbers)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=name, Key="raw/present", Body=b"here")
    return name


numbers = itertools.count()  # one for every module here: they share a sandbox, and so its names


@pytest.fixture
def code() -> Callable[[Callable[[], Any]], str]:
    """The AWS error code a call ends with; fails when it does not end with one."""
    from botocore.exceptions import ClientError

    def of(call: Callable[[], Any]) -> str:
        with pytest.raises(ClientError) as caught:
            call()
        error = caught.value.response["Error"]
        return f"{error['Code']}: {error['Message']}"

    return of
