"""`make test-aws`: every refusal and probe replayed against a real account, beside the sandbox.

usage: TOWPATH_TEST_AWS=ACCOUNT python -m tools.aws [--region R] [--issuer-bucket B] [--only TEXT] [--settle S] [--yes] | --sweep
A second account, for the cases across accounts: TOWPATH_TEST_AWS_OTHER=ACCOUNT and TOWPATH_TEST_AWS_OTHER_PROFILE=the profile of its keys.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.aws import comparison
from tools.aws.cases import load
from tools.aws.comparison import Difference
from tools.aws.issuer import NotPublic, published
from tools.aws.side import NAME, Side
from tools.aws.sweep import sweep

WANTED = "TOWPATH_TEST_AWS"
OTHER = "TOWPATH_TEST_AWS_OTHER"
OTHER_PROFILE = "TOWPATH_TEST_AWS_OTHER_PROFILE"
SETTLE = 20.0  # seconds; IAM's changes are known everywhere after some ("IAM is eventually consistent", IAM User Guide)


class Refused(Exception):
    """The run does not begin. Its words say what is missing."""


def account_side(environ: Mapping[str, str], *, region: str, settle: float, endpoint: str | None = None) -> Side:
    """The account the environment's credentials belong to, and the second one if it is named.

    Raises Refused unless TOWPATH_TEST_AWS and TOWPATH_TEST_AWS_OTHER name exactly the accounts, and the credentials are not their roots'.
    """
    wanted, other, profile = (environ.get(name, "") for name in (WANTED, OTHER, OTHER_PROFILE))
    if not wanted:
        raise Refused(f"this makes and removes things in a real account: say which by {WANTED}=<account id>")
    if bool(other) != bool(profile):
        raise Refused(f"a second account is named by {OTHER} and {OTHER_PROFILE} together")
    if other == wanted:
        raise Refused(f"{OTHER} is the first account")
    side = _of_account(WANTED, wanted, None, region=region, settle=settle, endpoint=endpoint)
    if not other:
        return side
    try:
        second = _of_account(OTHER, other, profile, region=region, settle=settle, endpoint=endpoint, run=side.run)
    except BaseException:
        side.close()
        raise
    return replace(side, other=second)


def _of_account(
    variable: str,
    wanted: str,
    profile: str | None,
    *,
    region: str,
    settle: float,
    endpoint: str | None,
    run: str | None = None,
) -> Side:
    import botocore.session
    from botocore.exceptions import ProfileNotFound

    session: Any = botocore.session.Session(profile=profile)
    whose = f"profile {profile}" if profile else "the environment"
    try:
        credentials = session.get_credentials()
    except ProfileNotFound as error:
        raise Refused(f"{error}; {OTHER_PROFILE} names it") from None
    if credentials is None:
        raise Refused(f"{whose} has no AWS credentials")
    frozen = credentials.get_frozen_credentials()
    keys = {"AccessKeyId": frozen.access_key, "SecretAccessKey": frozen.secret_key, "SessionToken": frozen.token}
    side = Side(
        name="aws",
        account=wanted,
        region=region,
        run=run or NAME + secrets.token_hex(4),
        keys=keys,
        settle=settle,
        endpoint=endpoint,
    )
    who = side.client("sts").get_caller_identity()
    if who["Account"] != wanted:
        side.close()
        raise Refused(f"the credentials of {whose} are of account {who['Account']}, {variable} is {wanted}")
    if who["Arn"].endswith(":root"):
        side.close()
        raise Refused(
            f"those of {whose} are the root's credentials, which cannot assume a role: use a user or role that administers the account"
        )
    side.partition = who["Arn"].split(":")[1]
    side.administrator = who["Arn"]
    return side


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.aws", description=__doc__)
    parser.add_argument("--region", default=os.environ.get("AWS_REGION", "eu-west-1"))
    parser.add_argument(
        "--issuer-bucket", metavar="BUCKET", help="a bucket of yours whose towpath-test-* objects are public"
    )
    parser.add_argument("--only", metavar="TEXT", help="cases whose name holds it")
    parser.add_argument("--settle", type=float, default=SETTLE, metavar="SECONDS")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--sweep", action="store_true", help="remove what earlier runs left, by its tag")
    given = parser.parse_args(arguments)
    console = Console(highlight=False, stderr=True, soft_wrap=True)
    try:
        aws = account_side(os.environ, region=given.region, settle=given.settle)
    except Refused as error:
        console.print(f"not run: {error}")
        return 2
    if given.sweep:
        left = [line for each in aws.accounts for line in sweep(each, on_event=console.print)]
        for line in left:
            console.print(f"left: {line}")
        return 1 if left else 0
    return _run(given, aws, console)


def _run(given: argparse.Namespace, aws: Side, console: Console) -> int:
    from tools.aws.sandboxed import side_of
    from towpath.sandbox.main import Sandbox
    from towpath.sandbox.settings import SandboxSettings

    wanted = [case for case in load() if given.only is None or given.only in case.name]
    has = aws.has | ({"web identity"} if given.issuer_bucket is not None else set())
    cases, skipped = comparison.possible(wanted, has=has)
    for line in (*(f"skipped: {line}" for line in skipped), *comparison.plan(cases, aws)):
        console.print(line)
    if not cases:
        console.print("no case to run")
        return 2
    if not given.yes and input("go on? [y/N] ").strip().lower() not in {"y", "yes"}:
        return 130
    settings = SandboxSettings(account=aws.account, region=aws.region)
    with ExitStack() as stack:
        there = aws.other.account if aws.other is not None else None
        sandbox = stack.enter_context(side_of(stack.enter_context(Sandbox(settings)), other=there))
        if given.issuer_bucket is not None:
            try:
                aws = stack.enter_context(published(aws, given.issuer_bucket))
            except NotPublic as error:
                console.print(str(error))
                return 2
        found = comparison.compare(cases, aws=aws, sandbox=sandbox, say=lambda text: console.print(text, style="dim"))
    report(found, cases=len(cases))
    return 1 if found else 0


def report(found: Sequence[Difference], *, cases: int) -> None:
    console = Console(highlight=False)
    if not found:
        console.print(f"{cases} cases: AWS and the sandbox answered alike")
        return
    table = Table(title=f"{len(found)} answers differ in {cases} cases", show_lines=True)
    for name in ("case", "request", "differs in", "AWS", "sandbox"):
        table.add_column(name, overflow="fold")
    for item in found:
        table.add_row(item.case, item.step, item.what, str(item.aws), str(item.sandbox))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
