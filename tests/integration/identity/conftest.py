"""One EKS cluster, role name and state directory for each test, on the session's sandbox."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from towpath.chain.observed import Chain, Wanted
from towpath.identity.manifest import from_flags
from towpath.identity.observe import observe
from towpath.identity.plan import Change, plan
from towpath.identity.record import Record
from towpath.identity.world import World, open_world
from towpath.sandbox.main import Sandbox

ACCOUNT = "123456789012"
REGION = "eu-west-1"
_numbers = itertools.count()


@dataclass(frozen=True)
class Case:
    """One identity's names, and the world it lives in."""

    sandbox: Sandbox
    cluster: str
    role: str
    directory: Path

    @property
    def policy_file(self) -> Path:
        return self.directory / "s3-policy.json"

    def wanted(self, **more: Any) -> Wanted:
        given: dict[str, Any] = {"policy_files": [str(self.policy_file)], **more}
        return from_flags(
            eks=self.cluster,
            issuer=None,
            cluster=None,
            region=REGION,
            namespace="data",
            service_account="hd-job-sa",
            role=self.role,
            **given,
        )

    def world(self, **more: Any) -> World:
        return open_world(self.wanted(**more))

    def observed(self, **more: Any) -> Chain:
        return observe(self.wanted(**more), self.world())

    def plan(self, *, remove_bootstrap_trust: bool = False, **more: Any) -> tuple[Change, ...]:
        return plan(self.observed(**more), remove_bootstrap_trust=remove_bootstrap_trust)

    def record(self, chain: Chain) -> Record:
        return Record(self.directory / "state", chain)

    def iam(self) -> Any:
        return botocore.session.Session().create_client("iam", region_name=REGION)

    def trust(self) -> dict[str, Any]:
        return self.iam().get_role(RoleName=self.role)["Role"]["AssumeRolePolicyDocument"]

    @property
    def issuer(self) -> str:
        found = self.sandbox.clusters.named(self.cluster)
        assert found is not None
        return found.issuer_url

    def flags(self) -> list[str]:
        return [
            "--eks", self.cluster, "--region", REGION, "--namespace", "data", "--service-account", "hd-job-sa", "--role", self.role,
            "--policy-file", str(self.policy_file), "--state", str(self.directory / "state"),
        ]  # fmt: skip


@pytest.fixture
def case(towpath_sandbox: Sandbox, towpath_sandbox_environment: dict[str, str], tmp_path: Path) -> Case:
    number = f"{os.getpid()}-{next(_numbers)}"
    made = Case(sandbox=towpath_sandbox, cluster=f"c-{number}", role=f"hd-{number}", directory=tmp_path)
    eks: Any = botocore.session.Session().create_client("eks", region_name=REGION)
    eks.create_cluster(name=made.cluster, roleArn=f"arn:aws:iam::{ACCOUNT}:role/x", resourcesVpcConfig={})
    s3: Any = botocore.session.Session().create_client("s3", region_name=REGION)
    bucket = f"lake-{number}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    # The procedure's policy, with its ten actions.
    actions = "DeleteObjectTagging ReplicateObject PutObject GetObjectAcl GetObject DeleteObjectVersion ListBucket PutObjectTagging DeleteObject PutObjectAcl"
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [f"s3:{a}" for a in actions.split()],
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }
    made.policy_file.write_text(json.dumps(document))
    return made


@pytest.fixture
def towpath(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The console script in this process: exit status, standard output, standard error."""
    import sys
    from unittest import mock

    from towpath.cli.main import main

    def call(*words: str) -> tuple[int, str, str]:
        with mock.patch.object(sys, "argv", ["towpath", *words]), pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call
