"""A pod without its cluster: a role that trusts a service account, a token in a file, and the variables EKS would set.

Each client runs in a process of its own with that environment and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from towpath.sandbox.clusters import Cluster
from towpath.sandbox.main import Sandbox

HERE = Path(__file__).resolve().parent
SESSION = 4  # seconds a session lasts here; AWS gives none of less than 900
LONGEST = 180  # seconds a client may take
ALLOWED, CLOSED = "raw/", "closed/"
FIRST, SECOND = "hd-job-sa", "hd-job-sa-2"  # service accounts; the role trusts both


@dataclass(frozen=True)
class Pod:
    """What a client starts from: `environment` is all it gets."""

    sandbox: Sandbox
    role: str  # ARN
    bucket: str
    token_file: Path
    home: Path

    def environment(self, *, tls: bool = False) -> dict[str, str]:
        region = self.sandbox.settings.region
        endpoint = self.sandbox.tls_endpoint if tls else self.sandbox.endpoint
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "AWS_EC2_METADATA_DISABLED": "true",  # as in every pod that towpath launches
            # as the EKS webhook sets them
            "AWS_ROLE_ARN": self.role,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.token_file),
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_STS_REGIONAL_ENDPOINTS": "regional",
            # and where the AWS is that this pod talks to
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ENDPOINT_URL_STS": endpoint,  # object_store's exchange looks at this one only
            **(self.sandbox.trust_environment() if tls else {}),
            "CLIENT_BUCKET": self.bucket,
            "CLIENT_ALLOWED": ALLOWED,
            "CLIENT_CLOSED": CLOSED,
        }

    def project_token(self, service_account: str) -> None:
        """A new token in the file, put in place at once, as kubelet does."""
        text, _ = _cluster(self.sandbox).token("data", service_account, audiences=None, expires_in=600)
        partial = self.token_file.with_suffix(".partial")
        partial.write_text(text)
        partial.rename(self.token_file)

    def run(self, command: list[str], *, tls: bool = False, **variables: str) -> list[dict[str, Any]]:
        """The lines `command` tells, its session ended and its token replaced where it waits. Fails when the command does."""
        self.project_token(FIRST)
        environment = {**self.environment(tls=tls), **variables}
        told: list[dict[str, Any]] = []
        with (
            self.sandbox.sessions_of(timedelta(seconds=SESSION)),
            subprocess.Popen(
                command,
                env=environment,
                cwd=self.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as client,
        ):
            killer = threading.Timer(LONGEST, client.kill)
            killer.start()
            assert client.stdin is not None
            assert client.stdout is not None
            assert client.stderr is not None
            errors: list[str] = []
            reader = threading.Thread(target=lambda: errors.append(client.stderr.read()))  # pyright: ignore[reportOptionalMemberAccess]
            reader.start()
            for line in client.stdout:
                told.append(json.loads(line))
                if told[-1]["step"] == "wait":
                    time.sleep(SESSION + 1)
                    self.project_token(SECOND)  # of another account, so that the record shows who read the file anew
                    client.stdin.write("\n")
                    client.stdin.flush()
            status = client.wait()
            killer.cancel()
            reader.join()
        assert status == 0, f"{told}\n{''.join(errors)[-3000:]}"
        return told

    def calls(self) -> list[dict[str, Any]]:
        """What the gate recorded of this pod's exchanges and sessions, oldest first."""
        name = self.role.rpartition("/")[2]
        own = f":assumed-role/{name}/"
        return [
            call
            for call in self.sandbox.record.as_json()
            if own in str(call["who"])
            or (call["action"] == "sts:AssumeRoleWithWebIdentity" and call["resource"] == self.role)
        ]


def _cluster(sandbox: Sandbox) -> Cluster:
    found = sandbox.clusters.named("sandbox")
    assert found is not None
    return found


def administrator(sandbox: Sandbox, service: str) -> Any:
    environment = sandbox.aws_environment()
    return boto3.client(
        service,
        endpoint_url=sandbox.endpoint,
        region_name=sandbox.settings.region,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


_numbers = iter(range(10_000))


@pytest.fixture
def pod(towpath_sandbox: Sandbox, tmp_path: Path) -> Iterator[Pod]:
    """A role of this test's own that may use `raw/` in a bucket of this test's own, and nothing else."""
    name = f"client-{os.getpid()}-{next(_numbers)}"
    iam, s3 = administrator(towpath_sandbox, "iam"), administrator(towpath_sandbox, "s3")
    issuer = _cluster(towpath_sandbox).issuer_url
    host = issuer.removeprefix("https://")
    providers = [
        item["Arn"].partition("/")[2] for item in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    ]
    if host not in providers:
        iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
    account, region = towpath_sandbox.settings.account, towpath_sandbox.settings.region
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                f"{host}:sub": [f"system:serviceaccount:data:{name}" for name in (FIRST, SECOND)],
                f"{host}:aud": "sts.amazonaws.com",
            }
        },
    }
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    objects = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        "Resource": [f"arn:aws:s3:::{name}/{ALLOWED}*", f"arn:aws:s3:::{name}/{ALLOWED.rstrip('/')}"],
    }  # s3fs asks for the folder's own name
    listing = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{name}",
        "Condition": {"StringLike": {"s3:prefix": [f"{ALLOWED}*", ALLOWED.rstrip("/")]}},
    }
    iam.put_role_policy(RoleName=name, PolicyName="lake", PolicyDocument=_policy(objects, listing))
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
    home = tmp_path / "home"
    home.mkdir()
    return Pod(sandbox=towpath_sandbox, role=role, bucket=name, token_file=tmp_path / "token", home=home)


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def moves_without_a_key(pod: Pod) -> Callable[..., list[dict[str, Any]]]:
    """Runs a client through all its steps and checks each; gives what it told."""

    def check(
        command: list[str], *, refusal: str = "AccessDenied", tls: bool = False, **variables: str
    ) -> list[dict[str, Any]]:
        told = pod.run(command, tls=tls, **variables)
        by_step = {line["step"]: line for line in told}
        key = f"{ALLOWED}one"
        assert by_step["read"]["text"] == by_step["read again"]["text"] == "moved without a key"
        assert by_step["list"]["names"] == [key]
        assert by_step["delete"]["names"] == []
        if "large" in by_step:
            assert by_step["large"]["digest"] == hashlib.sha256(bytes(range(256)) * 9 * 4096).hexdigest()
        assert by_step["refused"]["error"] is not None, "the write that its role does not allow went through"
        assert refusal in by_step["refused"]["error"]
        _check_record(pod)
        return told

    return check


def _check_record(pod: Pod) -> None:
    calls = pod.calls()
    exchanges = [call for call in calls if call["action"] == "sts:AssumeRoleWithWebIdentity"]
    assert {call["decision"] for call in exchanges} == {"allowed"}
    assert FIRST in str(exchanges[0]["who"])
    assert SECOND in str(exchanges[-1]["who"]), "it did not refresh from the new token"
    assert [call for call in calls if call["decision"] == "denied" and f"/{CLOSED}" in str(call["resource"])]
    s3 = administrator(pod.sandbox, "s3")
    left = s3.list_objects_v2(Bucket=pod.bucket).get("Contents", [])
    assert [item["Key"] for item in left if item["Size"]] == []  # pyarrow leaves a marker of no bytes for the folder
