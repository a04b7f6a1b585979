"""S3 through the gate: signed by a role's session and authorised by its policies, beside bare moto, which checks nothing, and beside the
same store behind the same server without a gate.

Three servers run at once, each in a process of its own; rounds alternate. Aimed at: PUT of 1 MiB at least 1.5 times bare moto, PUT of
4 KiB at least 1.0, the gate at least 0.7 of its backend alone. GETs are told beside them.

usage: python -m benchmarks.sandbox_s3 [ROUNDS [SECONDS]]
       python -m benchmarks.sandbox_s3 --with-seaweed /path/to/weed      for the choice of what stands behind the gate (docs/sandbox.md)
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import wrk
from benchmarks.wrk import Call, Contestant

ROUNDS, SECONDS = 5, 4.0
SIZES = {"4 KiB": 4096, "1 MiB": 1024 * 1024}
KEYS = 64
BUCKET, PREFIX, ROLE, REGION = "lake", "raw/", "bench", "eu-west-1"
TARGETS = {("PUT", "1 MiB", "moto"): 1.5, ("PUT", "4 KiB", "moto"): 1.0, ("PUT", "4 KiB", "backend"): 0.7}
TARGETS[("PUT", "1 MiB", "backend")] = 0.7


def main(rounds: int, seconds: float, weed: str | None) -> None:
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    failed: list[str] = []
    with ExitStack() as stack:
        urls = {"moto": stack.enter_context(wrk.moto_server()), "backend": stack.enter_context(_backend_alone())}
        environment = stack.enter_context(wrk.sandbox())
        urls["gate"] = environment["AWS_ENDPOINT_URL"]
        if weed is not None:
            urls["seaweedfs"] = stack.enter_context(_seaweed(weed))
        session = role_session(environment)
        for name in urls.keys() & {"moto", "backend"}:
            _send(urls[name], "PUT", f"/{BUCKET}")
        for label, size in SIZES.items():
            body = os.urandom(size)
            for method in ("PUT", "GET"):
                print(f"{method} {label}")
                contestants = [
                    Contestant(name, url, partial(_calls, method, body, url, session if name == "gate" else None))
                    for name, url in urls.items()
                ]
                results = wrk.compare(contestants, rounds=rounds, seconds=seconds)
                for peer in urls.keys() - {"gate"}:
                    found = wrk.ratio(results, "gate", peer)
                    target = TARGETS.get((method, label, peer))
                    print(
                        f"  gate {wrk.median(results['gate']):,.0f}/s, {peer} {wrk.median(results[peer]):,.0f}/s: ratio {found:.2f}"
                        + (f" (aimed at {target})" if target else "")
                        + f"; by processor time {wrk.processor_ratio(results, 'gate', peer):.2f}"
                    )
                    if target and found < target:
                        failed.append(f"{method} {label} beside {peer}: {found:.2f} of {target}")
        _tell_signature(_calls("PUT", os.urandom(4096), urls["gate"], session), urls["gate"], session)
    if failed:
        print("below what was aimed at: " + "; ".join(failed))


def _tell_signature(calls: list[Call], url: str, session: Mapping[str, str]) -> None:
    """What verifying alone takes, in one thread: the part of the gate that no gate can do without."""
    from towpath.sandbox import signatures, sigv4
    from towpath.sandbox.wire import Body, Request

    began = time.process_time()
    for call in calls * 50:
        headers = {"host": urlsplit(url).netloc, **{name.lower(): value for name, value in call.headers.items()}}
        request = Request(method=call.method, path=call.path, headers=headers, body=Body([call.body]))
        scope = sigv4.parse(request)
        assert scope is not None
        signatures.verify(request, scope, session["SecretAccessKey"], now=datetime.now(UTC))
    print(
        f"a signature over 4 KiB verified: {(time.process_time() - began) / (50 * len(calls)) * 1e6:.0f} µs of processor"
    )


def _calls(method: str, body: bytes, url: str, session: Mapping[str, str] | None) -> list[Call]:
    """One request for each key; signed for the gate, with a made-up signature for everybody else."""
    sent = body if method == "PUT" else b""
    digest = hashlib.sha256(sent).hexdigest()
    calls: list[Call] = []
    for number in range(KEYS):
        path = f"/{BUCKET}/{PREFIX}{len(body)}-{number}"
        headers = signed(method, url, path, digest, session) if session else wrk.UNVERIFIED
        calls.append(Call(method=method, path=path, headers=headers, body=sent))
    return calls


def signed(method: str, url: str, path: str, digest: str, session: Mapping[str, str]) -> dict[str, str]:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    credentials = Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    request = AWSRequest(method=method, url=url + path, headers={"Host": urlsplit(url).netloc})
    request.headers["X-Amz-Content-SHA256"] = digest
    request.context["payload_signing_enabled"] = False
    signer = S3SigV4Auth(credentials, "s3", REGION)
    signer.payload = lambda _: digest  # pyright: ignore[reportAttributeAccessIssue]
    signer.add_auth(request)
    headers = dict(request.headers.items())
    assert headers["X-Amz-Content-SHA256"] == digest
    return headers


def role_session(environment: Mapping[str, str]) -> dict[str, str]:
    """A role as a pipeline has it (its own prefix of one bucket, and two managed policies), assumed with a token."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    def client(service: str, **more: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=REGION,
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            **more,
        )

    client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    iam = client("iam")
    issuer = client("eks").describe_cluster(name="sandbox")["cluster"]["identity"]["oidc"]["issuer"]
    host = issuer.removeprefix("https://")
    provider = iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": provider["OpenIDConnectProviderArn"]},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {f"{host}:sub": "system:serviceaccount:data:bench", f"{host}:aud": "sts.amazonaws.com"}
        },
    }
    role = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    arn = f"arn:aws:s3:::{BUCKET}"
    statements = (
        {
            "Sid": "List",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": arn,
            "Condition": {"StringLike": {"s3:prefix": [f"{PREFIX}*"]}},
        },
        {
            "Sid": "Write",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            "Resource": f"{arn}/{PREFIX}*",
        },
        {
            "Sid": "OnlyOurs",
            "Effect": "Deny",
            "Action": "s3:*",
            "NotResource": [arn, f"{arn}/*"],
        },
    )
    iam.put_role_policy(RoleName=ROLE, PolicyName="prefix", PolicyDocument=_policy(*statements))
    for name in ("AmazonAthenaFullAccess", "AWSGlueConsoleFullAccess"):
        iam.attach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{name}")
    asked = json.dumps({"cluster": "sandbox", "namespace": "data", "serviceAccount": "bench"}).encode()
    answer = _send(
        environment["TOWPATH_SANDBOX_URL"],
        "POST",
        "/token",
        asked,
        Authorization=f"Bearer {environment['TOWPATH_SANDBOX_SECRET']}",
    )
    sts = client("sts", config=Config(signature_version=UNSIGNED))
    return sts.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName="bench", WebIdentityToken=json.loads(answer)["token"]
    )["Credentials"]


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _send(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url + path, method=method, data=body, headers={**wrk.UNVERIFIED, **headers})
    with opener.open(request, timeout=30) as answer:
        return answer.read()


# --- what there is beside moto and the gate ------------------------------------------------------------------------


@contextmanager
def _backend_alone() -> Iterator[str]:
    port = wrk.free_port()
    command = [sys.executable, "-m", "benchmarks.sandbox_s3", "--backend", str(port)]
    with wrk.server(command, f"http://127.0.0.1:{port}/") as url:
        yield url.rstrip("/")


def backend(port: int) -> None:
    """The sandbox's server, whose handler goes straight to the backend."""
    from towpath.sandbox.backend import Backend
    from towpath.sandbox.server import Server

    with tempfile.TemporaryDirectory() as folder:
        behind = Backend(Path(folder))
        server = Server(
            lambda request: behind.call(request, service="s3", region="us-east-1", account="123456789012"),
            host="127.0.0.1",
            port=port,
        )
        server.start()
        while True:
            time.sleep(3600)


@contextmanager
def _seaweed(weed: str) -> Iterator[str]:
    # Each of its ports has another one 10,000 above it.
    master, volume, filer, s3 = sorted(port for port in (wrk.free_port() for _ in range(60)) if port < 55_000)[:4]
    with tempfile.TemporaryDirectory() as folder:
        command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
        command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"]
        command += ["-volume.max=20", "-master.volumeSizeLimitMB=256"]
        began = time.monotonic()
        with wrk.server(command, f"http://127.0.0.1:{s3}/") as url:
            for path in (BUCKET, f"{BUCKET}/first"):
                put = ["curl", "-sf", "--noproxy", "*", "-o", "/dev/null", "-X", "PUT", "--data", "", f"{url}{path}"]
                while subprocess.call(put):
                    time.sleep(0.05)
            print(f"seaweedfs: {time.monotonic() - began:.1f} s to its first object")
            yield url.rstrip("/")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--backend"]:
        backend(int(sys.argv[2]))
    else:
        arguments = sys.argv[1:]
        at = arguments.index("--with-seaweed") if "--with-seaweed" in arguments else -1
        chosen = arguments.pop(at + 1) if at >= 0 else None
        numbers = [each for each in arguments if not each.startswith("--")]
        main(
            int(numbers[0]) if numbers else ROUNDS,
            float(numbers[1]) if len(numbers) > 1 else SECONDS,
            chosen,
        )
