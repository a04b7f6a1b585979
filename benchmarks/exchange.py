"""AssumeRoleWithWebIdentity: the sandbox's, verified from signature to trust policy, beside bare moto_server's, which verifies nothing.

    python -m benchmarks.exchange [--rounds 5] [--seconds 4] [--tokens 300] [--connections 8]

Both get the same requests from wrk: distinct tokens of one service account, prepared beforehand, sent again and again. The sandbox
remembers keys and policies, never that a token was good: every answer has cost a signature, a trust decision and new credentials.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import boto3

from benchmarks.wrk import Call, Contestant, compare, median, moto_server, ratio, sandbox

ROLE = "exchanged"
SERVICE_ACCOUNT = ("data", "hd-job-sa")
WANTED = 5.0  # times moto
AIM = 900.0  # a second


def main() -> None:
    arguments = _arguments()
    with sandbox() as environment, moto_server() as moto:
        endpoint = environment["AWS_ENDPOINT_URL"]
        account = _prepare(environment)
        calls = _calls(environment, account, arguments.tokens)
        _prove(endpoint, calls)
        results = compare(
            [Contestant("towpath", endpoint, calls), Contestant("moto", moto, calls)],
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            connections=arguments.connections,
        )
    times = ratio(results, "towpath", "moto")
    rate, latency = median(results["towpath"]), statistics.median(found.p99 for found in results["towpath"])
    ours, theirs = (statistics.median(found.cpu for found in results[name]) for name in ("towpath", "moto"))
    print(
        f"\nverified exchanges: {rate:,.0f}/s (p99 {latency:.1f} ms); moto's unverified: {median(results['moto']):,.0f}/s"
    )
    print(f"ratio {times:.1f} (at least {WANTED:.0f} wanted), aim {AIM:,.0f}/s; load average {os.getloadavg()[0]:.1f}")
    print(
        f"processor time an exchange, which a busy machine spoils less: {ours:.2f} ms to {theirs:.2f} ms, {theirs / ours:.1f} times"
    )
    if arguments.json:
        print(
            json.dumps(
                {"ratio": times, "rate": rate, "moto": median(results["moto"]), "p99": latency, "cpu": theirs / ours}
            )
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of load, each contestant, each round")
    parser.add_argument("--tokens", type=int, default=300, help="distinct ones")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _client(service: str, environment: Mapping[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def _prepare(environment: Mapping[str, str]) -> str:
    """Provider and role, as a chain has them. Gives the account."""
    account = str(_client("sts", environment).get_caller_identity()["Account"])
    iam = _client("iam", environment)
    issuer = _client("eks", environment).describe_cluster(name="sandbox")["cluster"]["identity"]["oidc"]["issuer"]
    host = issuer.removeprefix("https://")
    provider = iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": provider["OpenIDConnectProviderArn"]},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {
                        f"{host}:sub": "system:serviceaccount:" + ":".join(SERVICE_ACCOUNT),
                        f"{host}:aud": "sts.amazonaws.com",
                    }
                },
            }
        ],
    }
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))
    return account


def _calls(environment: Mapping[str, str], account: str, tokens: int) -> list[Call]:
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": f"arn:aws:iam::{account}:role/{ROLE}",
        "RoleSessionName": "benchmark",
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    return [
        Call(
            method="POST",
            path="/",
            headers=headers,
            body=urlencode(form | {"WebIdentityToken": _token(environment)}).encode(),
        )
        for _ in range(tokens)
    ]


def _token(environment: Mapping[str, str]) -> str:
    namespace, name = SERVICE_ACCOUNT
    return str(
        _ask(
            environment["TOWPATH_SANDBOX_URL"] + "/token",
            json.dumps({"namespace": namespace, "serviceAccount": name, "expiresIn": 7200}).encode(),
            {"Authorization": f"Bearer {environment['TOWPATH_SANDBOX_SECRET']}"},
        )["token"]
    )


def _prove(endpoint: str, calls: Sequence[Call]) -> None:
    """That what is measured is verified: each token is its own, and a changed one is refused."""
    bodies = {call.body for call in calls}
    assert len(bodies) == len(calls)
    changed = calls[0].body[:-20] + b"A" * 20
    request = urllib.request.Request(endpoint, data=changed, headers=dict(calls[0].headers))
    code = b""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
    except urllib.error.HTTPError as error:
        code = error.read()
    if b"InvalidIdentityToken" not in code:
        raise SystemExit("a token with another signature was let in")


def _ask(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(url, data=body, headers=dict(headers))
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


if __name__ == "__main__":
    main()
