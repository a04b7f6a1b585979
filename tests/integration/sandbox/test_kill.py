"""A sandbox with --state, killed without warning at random moments under load: what it acknowledged is there, and nothing half-written."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SEED = 20_251_125
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}
    ],
}
BOUNDARY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
MADE = ("bounded user", "object", "counter", "role", "bucket policy", "annotation", "session")
NO_RETRY = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)


class Killed:
    """The sandbox of one directory, started again and again."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.process: subprocess.Popen[str] | None = None
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        command = "from towpath.cli.main import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "sandbox", "--port", "0", "--json", "--state", str(self.state)],
            env={k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TOWPATH_"))},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.environment = json.loads(self.process.stdout.readline())["environment"]

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def client(self, service: str, credentials: dict[str, str] | None = None, **more: Any) -> Any:
        environment = self.environment
        keys = credentials or {
            "AccessKeyId": environment["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": environment["AWS_SECRET_ACCESS_KEY"],
        }
        return boto3.session.Session().client(
            service,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name="eu-west-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys.get("SessionToken"),
            config=NO_RETRY.merge(more.pop("config", Config())),
        )

    def own(self, method: str, path: str, **body: Any) -> Any:
        """The sandbox's own interface."""
        answer = httpx2.request(
            method,
            self.environment["TOWPATH_SANDBOX_URL"] + path,
            json=body or None,
            headers={"Authorization": f"Bearer {self.environment['TOWPATH_SANDBOX_SECRET']}"},
            trust_env=False,
            timeout=20,
        )
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    found = Killed(tmp_path / "state")
    found.start()
    yield found
    found.kill()


@pytest.mark.parametrize("rounds", [pytest.param(3, id="few"), pytest.param(30, id="many", marks=pytest.mark.long)])
def test_what_was_acknowledged_outlives_a_kill(killed: Killed, rounds: int) -> None:
    chance = random.Random(SEED)
    world = World(killed)
    for number in range(rounds):
        world.load(number, seconds=chance.uniform(0.3, 2.0))
        killed.start()
        world.check()
    # The check is worth something: everything it looks for was made.
    assert all(world.acknowledged[kind] for kind in MADE)


class World:
    """Writers that note what was acknowledged, and a reader that looks for it."""

    def __init__(self, killed: Killed) -> None:
        self.killed = killed
        self.acknowledged: dict[str, dict[str, Any]] = {
            kind: {}
            for kind in (
                "object",
                "counter",
                "role",
                "bucket policy",
                "annotation",
                "session",
                "provider",
                "bounded user",
            )
        }
        self.numbers = itertools.count()
        self.dying = False
        self.errors: list[Exception] = []
        killed.client("s3").create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        role = killed.client("iam").create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(self._trust()))
        self.reader = role["Role"]["Arn"]
        killed.client("iam").put_role_policy(
            RoleName="reader", PolicyName="read", PolicyDocument=policy("s3:GetObject", "arn:aws:s3:::lake/*")
        )
        killed.client("s3").put_object(Bucket="lake", Key="first", Body=b"first")

    def _trust(self) -> dict[str, Any]:
        eks, iam = self.killed.client("eks"), self.killed.client("iam")
        issuer = eks.describe_cluster(name="sandbox")["cluster"]["identity"]["oidc"]["issuer"]
        provider = iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
        other = iam.create_open_id_connect_provider(
            Url="https://issuer.example/other", ClientIDList=["sts.amazonaws.com"]
        )
        self.provider = other["OpenIDConnectProviderArn"]
        host = issuer.removeprefix("https://")
        return {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Federated": provider["OpenIDConnectProviderArn"]},
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {"StringEquals": {f"{host}:sub": "system:serviceaccount:data:reader"}},
                }
            ],
        }

    # --- writing -----------------------------------------------------------------------------------------------------

    def load(self, number: int, *, seconds: float) -> None:
        """Write from several threads, and kill the sandbox while they do."""
        writers = [self._objects, self._objects, self._multipart, self._roles, self._policies, self._own, self._clients]
        threads = [threading.Thread(target=self._until_killed, args=(writer, number)) for writer in writers]
        self.dying = False
        for thread in threads:
            thread.start()
        # Everything is under way before the moment is drawn, however busy the machine is.
        deadline = time.monotonic() + 30
        while not all(self.acknowledged[kind] for kind in MADE) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(seconds)
        self.dying = True
        self.killed.kill()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not self.errors

    def _until_killed(self, write: Callable[[int], None], number: int) -> None:
        try:
            write(number)
        except (BotoCoreError, ClientError, httpx2.HTTPError) as error:
            if not self.dying:
                self.errors.append(error)

    def _objects(self, number: int) -> None:
        s3 = self.killed.client("s3")
        for each in self.numbers:
            body = content(each, 200_000 if each % 5 == 0 else 3_000)
            self.acknowledged["object"][f"k{each}"] = None  # sent
            s3.put_object(Bucket="lake", Key=f"k{each}", Body=body)
            self.acknowledged["object"][f"k{each}"] = body
            key = f"over-{threading.get_ident()}-{number}"
            s3.put_object(Bucket="lake", Key=key, Body=b"%012d" % each)
            self.acknowledged["counter"][key] = each

    def _multipart(self, number: int) -> None:
        s3 = self.killed.client("s3")
        for each in self.numbers:
            key, body = f"m{each}", content(each, 5 * 1024 * 1024 + 17)
            self.acknowledged["object"][key] = None
            upload = s3.create_multipart_upload(Bucket="lake", Key=key)["UploadId"]
            call = {"Bucket": "lake", "Key": key, "UploadId": upload}
            pieces = (body[: 5 * 1024 * 1024], body[5 * 1024 * 1024 :])
            parts = [
                {"PartNumber": at, "ETag": s3.upload_part(**call, PartNumber=at, Body=piece)["ETag"]}
                for at, piece in enumerate(pieces, 1)
            ]
            s3.complete_multipart_upload(**call, MultipartUpload={"Parts": parts})
            self.acknowledged["object"][key] = body

    def _roles(self, number: int) -> None:
        iam = self.killed.client("iam")
        for each in self.numbers:
            name, document = f"role{each}", policy("s3:GetObject", f"arn:aws:s3:::lake/{each}/*")
            role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
            self.acknowledged["role"][name] = [role["RoleId"], role["CreateDate"], None]
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
            self.acknowledged["role"][name][2] = json.loads(document)
            iam.create_user(UserName=name, PermissionsBoundary=BOUNDARY)
            self.acknowledged["bounded user"][name] = True

    def _policies(self, number: int) -> None:
        s3 = self.killed.client("s3")
        for each in self.numbers:
            document = policy("s3:GetObject", f"arn:aws:s3:::lake/{each}/*", Principal={"AWS": self.reader})
            s3.put_bucket_policy(Bucket="lake", Policy=document)
            self.acknowledged["bucket policy"]["lake"] = each

    def _own(self, number: int) -> None:
        sts = self.killed.client("sts", config=Config(signature_version=UNSIGNED))
        for each in self.numbers:
            name = f"sa{each}"
            self.killed.own(
                "PATCH", f"/clusters/sandbox/namespaces/data/serviceaccounts/{name}", annotations={"a/b": str(each)}
            )
            self.acknowledged["annotation"][name] = str(each)
            token = self.killed.own("POST", "/token", namespace="data", serviceAccount="reader")["token"]
            session = sts.assume_role_with_web_identity(
                RoleArn=self.reader, RoleSessionName=f"s{each}", WebIdentityToken=token
            )["Credentials"]
            self.acknowledged["session"][f"s{each}"] = session

    def _clients(self, number: int) -> None:
        """Of a provider, which the gate deletes and makes anew for it: never is there none."""
        iam = self.killed.client("iam")
        for each in self.numbers:
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=self.provider, ClientID=f"c{each}")
            self.acknowledged["provider"][f"c{each}"] = True
            self.acknowledged[
                "provider"
            ].clear()  # before it is sent: a kill may come between the change and its answer
            iam.remove_client_id_from_open_id_connect_provider(
                OpenIDConnectProviderArn=self.provider, ClientID=f"c{each}"
            )

    # --- reading -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        s3, iam = self.killed.client("s3"), self.killed.client("iam")
        there = {
            item["Key"]: item
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket="lake")
            for item in page.get("Contents", ())
        }
        for key, body in self.acknowledged["object"].items():
            assert body is None or key in there, f"{key} was acknowledged and is gone"
        for key, item in there.items():
            found = s3.get_object(Bucket="lake", Key=key)["Body"].read()
            sent = self.acknowledged["object"].get(key)
            assert sent is None or found == sent, f"{key} is not what was acknowledged"
            assert len(found) == item["Size"]
            if "-" not in item["ETag"]:
                assert hashlib.md5(found).hexdigest() == item["ETag"].strip('"'), f"{key} is half-written"
        for key, value in self.acknowledged["counter"].items():
            assert int(s3.get_object(Bucket="lake", Key=key)["Body"].read()) >= value
        for name, (identifier, created, document) in self.acknowledged["role"].items():
            role = iam.get_role(RoleName=name)["Role"]
            assert (role["RoleId"], role["CreateDate"]) == (identifier, created)
            if document is not None:
                assert iam.get_role_policy(RoleName=name, PolicyName="p")["PolicyDocument"] == document
        for name in self.acknowledged["bounded user"]:
            boundary = iam.get_user(UserName=name)["User"]["PermissionsBoundary"]
            assert boundary["PermissionsBoundaryArn"] == BOUNDARY
        if self.acknowledged["bucket policy"]:
            found_policy = json.loads(s3.get_bucket_policy(Bucket="lake")["Policy"])
            number = int(found_policy["Statement"][0]["Resource"].split("/")[1])
            assert number >= self.acknowledged["bucket policy"]["lake"]
        for name, value in self.acknowledged["annotation"].items():
            account = self.killed.own("GET", f"/clusters/sandbox/namespaces/data/serviceaccounts/{name}")
            assert account["metadata"]["annotations"] == {"a/b": value}
        for credentials in list(self.acknowledged["session"].values())[-20:]:
            session = self.killed.client("s3", credentials)
            assert session.get_object(Bucket="lake", Key="first")["Body"].read() == b"first"
            with pytest.raises(ClientError, match="AccessDenied"):
                session.put_object(Bucket="lake", Key="first", Body=b"changed")
        clients = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=self.provider)["ClientIDList"]
        assert {"sts.amazonaws.com", *self.acknowledged["provider"]} <= set(clients)


def content(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def policy(action: str, resource: str, **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
