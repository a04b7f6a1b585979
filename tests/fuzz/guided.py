"""Fuzzing guided by coverage: atheris looks for inputs that reach code no input reached before.

    python tests/fuzz/guided.py TARGET [libFuzzer's options, as -runs=10000]

A target raises what its code must not raise; whatever it raises ends the run with a status that is not 0, and the input is printed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
with atheris.instrument_imports(include=["towpath.iam", "towpath.oidc", "towpath.sandbox"]):
    from towpath.iam.context import Context
    from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request, decide
    from towpath.iam.policy import PolicyError, PolicyKind, parse_policy
    from towpath.oidc import compact
    from towpath.oidc.errors import TokenError
    from towpath.sandbox import signatures, sigv4
    from towpath.sandbox.errors import AwsError, render
    from towpath.sandbox.operations import identify
    from towpath.sandbox.s3 import operations, schema, streams
    from towpath.sandbox.s3.address import locate
    from towpath.sandbox.wire import Body
    from towpath.sandbox.wire import Request as Wire

CONTEXT = Context({"aws:username": "ann", "aws:SourceIp": "10.0.0.1", "aws:TagKeys": ["a", "b"], "s3:max-keys": 5})
ASKED = Request(
    action="s3:GetObject",
    resource="arn:aws:s3:::lake/ann/x",
    caller=Caller(arn="arn:aws:iam::111111111111:user/ann", account="111111111111"),
    context=CONTEXT,
)


def policy(data: bytes) -> None:
    kind = list(PolicyKind)[data[0] % len(PolicyKind)] if data else PolicyKind.IDENTITY
    try:
        document = parse_policy(data[1:], kind=kind)
    except PolicyError:
        return
    named = NamedPolicy(name="fuzzed", document=document)
    identity = not kind.names_principals
    decision = decide(ASKED, PolicySet(identity=(named,) if identity else (), resource=None if identity else named))
    assert decision.reason


def token(data: bytes) -> None:
    try:
        compact.parse(data.decode("latin-1"))
    except TokenError:
        return


def wire(data: bytes) -> Wire:
    """Lines: method, path, query, headers until an empty one; then the body. As the server hands it over."""
    head, _, body = data.decode("latin-1").partition("\n\n")
    method, path, query, *lines = [*head.split("\n"), "", "", ""][: max(3, head.count("\n") + 1)]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
    return Wire(
        method=method,
        path=path,
        query=query,
        headers={"host": "localhost", **headers},
        body=Body([body.encode("latin-1")]),
    )


def signature(data: bytes) -> None:
    request = wire(data)
    try:
        scope = sigv4.parse(request)
        if scope is not None:
            signatures.verify(request, scope, "secret", now=scope.timestamp)
            raise RuntimeError("a made-up signature was taken")
    except AwsError as error:
        render(error, service="s3", protocol="rest-xml")


def query(data: bytes) -> None:
    request = wire(data)
    try:
        address = locate(request, {"localhost"})
        operations.identify(request, bucket=address.bucket, key=address.key)
    except AwsError:
        pass
    for service in ("iam", "sts", "eks", "dynamodb"):
        try:
            identify(request, service)
        except AwsError as error:
            render(error, service=service, protocol="query")


def body(data: bytes) -> None:
    names = (
        "PutBucketLifecycleConfiguration",
        "PutBucketTagging",
        "PutBucketReplication",
        "PutBucketNotificationConfiguration",
    )
    try:
        schema.check(names[data[0] % 4] if data else names[0], Wire(method="PUT", path="/lake", body=Body([data[1:]])))
    except AwsError:
        return


def chunks(data: bytes) -> None:
    headers = {"x-amz-decoded-content-length": "4", "x-amz-trailer": "x-amz-checksum-crc32"}
    decoder = streams.Decoder(io.BytesIO(data), mode=streams.UNSIGNED_TRAILER, headers=headers)
    try:
        content = b"".join(decoder)
    except AwsError:
        return
    assert len(content) == 4


TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "policy": (
        policy,
        (
            b'\x00{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringLike":{"a":"${aws:username}"}}}]}',
            b'\x02{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"111111111111"},"NotAction":"iam:*","NotResource":"arn:aws:s3:::b"}}',
        ),
    ),
    "token": (token, (b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIiwic3ViIjoiYiJ9.AAAA",)),
    "signature": (
        signature,
        (
            b"GET\n/lake/k\n\nx-amz-date:20260101T000000Z\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nauthorization:AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00\n\n",
            b"GET\n/lake/k\nX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260101%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Signature=00\n\n\n",
        ),
    ),
    "query": (
        query,
        (
            b"POST\n/\nAction=ListRoles&Version=2010-05-08\ncontent-type:application/x-www-form-urlencoded\n\nA=B",
            b"PUT\n/lake/k\npartNumber=1&uploadId=x\nx-amz-copy-source:a/b?versionId=1\n\n",
            b'POST\n/clusters\n\ncontent-type:application/json\n\n{"name":"a"}',
        ),
    ),
    "body": (body, (b"\x01<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",)),
    "chunks": (chunks, (b"4\r\nabcd\r\n0\r\nx-amz-checksum-crc32:7YLPEQ==\r\n\r\n",)),
}


def main() -> None:
    target, seeds = TARGETS[sys.argv.pop(1)]
    for seed in seeds:
        target(seed)  # and libFuzzer begins with them, from the folder that the last argument names
    folder = Path(sys.argv[-1])
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
