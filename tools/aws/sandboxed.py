"""The sandbox as a side: an IAM user for its administrator, since AWS's own will not be the account's root either."""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tools.aws.issuer import tokens
from tools.aws.side import NAME, Side
from towpath.sandbox.main import Sandbox


@contextmanager
def side_of(sandbox: Sandbox, *, name: str = "sandbox", run: str | None = None) -> Generator[Side]:
    """A side whose administrator goes afterwards."""
    drawn = run or NAME + secrets.token_hex(4)
    environment = sandbox.aws_environment()
    root = Side(
        name=name,
        account=sandbox.settings.account,
        region=sandbox.settings.region,
        partition=sandbox.settings.partition,
        run=drawn,
        endpoint=sandbox.endpoint,
        keys={"AccessKeyId": environment["AWS_ACCESS_KEY_ID"], "SecretAccessKey": environment["AWS_SECRET_ACCESS_KEY"]},
    )
    iam = root.client("iam")
    user = f"administrator-of-{drawn}"  # not a name that a sweep of the run would take
    iam.create_user(UserName=user)
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName=user, PolicyName="admin", PolicyDocument=json.dumps(everything))
    key: dict[str, Any] = iam.create_access_key(UserName=user)["AccessKey"]
    # A cluster for each side, so that two sides of one sandbox have two issuers.
    cluster = sandbox.clusters.add(account=root.account, region=root.region, name=user)
    try:
        yield Side(
            name=name,
            account=root.account,
            region=root.region,
            partition=root.partition,
            run=drawn,
            endpoint=sandbox.endpoint,
            keys={"AccessKeyId": key["AccessKeyId"], "SecretAccessKey": key["SecretAccessKey"]},
            issuer=cluster.issuer_url,
            token=tokens(cluster.issuer),
        )
    finally:
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=user, PolicyName="admin")
        iam.delete_user(UserName=user)
        root.close()
