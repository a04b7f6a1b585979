"""The sandbox as a side: an IAM user for its administrator, since AWS's own will not be the account's root either."""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from tools.aws.issuer import tokens
from tools.aws.side import NAME, Side
from towpath.sandbox.main import Sandbox


@contextmanager
def side_of(
    sandbox: Sandbox, *, name: str = "sandbox", run: str | None = None, other: str | None = None
) -> Generator[Side]:
    """A side whose administrators go afterwards. `other`: the number of its second account."""
    drawn = run or NAME + secrets.token_hex(4)
    with ExitStack() as stack:
        first = stack.enter_context(_administered(sandbox, sandbox.settings.account, name=name, run=drawn))
        if other is not None:
            second = stack.enter_context(_administered(sandbox, other, name=name, run=drawn))
            first = replace(first, other=second, clients={})
        # A cluster for each side, so that two sides of one sandbox have two issuers.
        cluster = sandbox.clusters.add(account=first.account, region=first.region, name=_administrator(drawn))
        yield replace(first, issuer=cluster.issuer_url, token=tokens(cluster.issuer), clients={})


def _administrator(run: str) -> str:
    """Not a name that a sweep of the run would take."""
    return f"administrator-of-{run}"


@contextmanager
def _administered(sandbox: Sandbox, account: str, *, name: str, run: str) -> Generator[Side]:
    key = sandbox.account(account)
    root = Side(
        name=name,
        account=account,
        region=sandbox.settings.region,
        partition=sandbox.settings.partition,
        run=run,
        endpoint=sandbox.endpoint,
        keys={"AccessKeyId": key.access_key, "SecretAccessKey": key.secret},
    )
    iam, user = root.client("iam"), _administrator(run)
    arn = str(iam.create_user(UserName=user)["User"]["Arn"])
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName=user, PolicyName="admin", PolicyDocument=json.dumps(everything))
    made = iam.create_access_key(UserName=user)["AccessKey"]
    try:
        yield replace(
            root,
            keys={"AccessKeyId": made["AccessKeyId"], "SecretAccessKey": made["SecretAccessKey"]},
            administrator=arn,
            clients={},
        )
    finally:
        iam.delete_access_key(UserName=user, AccessKeyId=made["AccessKeyId"])
        iam.delete_user_policy(UserName=user, PolicyName="admin")
        iam.delete_user(UserName=user)
        root.close()
