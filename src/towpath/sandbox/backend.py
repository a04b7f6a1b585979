"""What stands behind the gate: objects on disk, everything else in the emulator. `Backend.call` is the only way in.

Buckets are in both: their objects here, their configuration there. With a journal, writes of IAM, EKS and buckets' configuration are
told to it with the seed and the time they were made with, so that made again they give the same ids, keys and dates.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from towpath.sandbox.emulator import OWN_PATHS, Emulator, sdk_session
from towpath.sandbox.errors import AwsError, SandboxError
from towpath.sandbox.journal import Journal
from towpath.sandbox.objects import locks, xml
from towpath.sandbox.objects.buckets import Bucket
from towpath.sandbox.objects.service import CONFIGURATION, ObjectService
from towpath.sandbox.objects.store import Store
from towpath.sandbox.s3 import carried_out
from towpath.sandbox.s3.operations import identify
from towpath.sandbox.wire import Body, Request, Response

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from botocore.client import BaseClient

CALL: Final = "call"  # the journal's kind of fact
KEPT: Final = frozenset({"iam", "eks", "s3"})  # STS the gate answers itself
READS: Final = ("Get", "List", "Simulate", "Generate")
# What of a request's headers means something to the emulator; signatures and tokens do not.
_KEPT_HEADERS: Final = ("content-type", "content-md5", "content-encoding", "x-amz-")
_NOT_KEPT: Final = frozenset({"x-amz-security-token", "x-amz-date", "x-amz-content-sha256"})
_ACTUAL_RANDOMNESS: Final = (b"CreateVirtualMFADevice",)  # its picture comes from the system, not from the seed


class Backend:
    """Objects, and moto. S3 calls run side by side; the emulator's, whose state is small, one at a time."""

    _taken = threading.Lock()  # moto keeps its state in module globals: two sandboxes of one process would share it

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        """`folder` is for the objects."""
        if not self._taken.acquire(blocking=False):
            raise SandboxError(
                "this process has had its sandbox already; the emulator's state is the process's own",
                where="towpath.sandbox",
                todo="share one sandbox (the pytest fixture is one for the session), or start another process: `towpath sandbox`",
            )
        self._emulator = Emulator()
        self._store = Store(folder, fsync=fsync)
        self._objects = ObjectService(self._store)
        self._journal: Journal | None = None

    @property
    def version(self) -> str:
        """Of the emulator: another one may make other ids of the same seed."""
        return self._emulator.version

    def call(self, request: Request, *, service: str, region: str, account: str) -> Response:
        """Run one request that the gate has already allowed. Raises AwsError as the service would."""
        if request.key_path.lower().startswith(OWN_PATHS):
            raise AwsError(
                "NoSuchKey", "The specified key does not exist.", 404, why="the emulator's own paths are closed"
            )
        if service == "s3":
            return self._s3(request, region=region, account=account)
        return self._emulated(request, service=service, region=region, account=account)

    @contextmanager
    def together(self) -> Generator[None]:
        """What one request changes, here and in the gate's own memory, is kept whole or not at all."""
        if self._journal is None:
            yield
        else:
            with self._journal.together():
                yield

    def forgets(self, service: str) -> bool:
        """Whether what this service holds is lost at the end of a run that keeps other things."""
        return self._journal is not None and service not in KEPT

    # --- the emulator ------------------------------------------------------------------------------------------------

    def _emulated(self, request: Request, *, service: str, region: str, account: str) -> Response:
        if self._journal is None or service not in KEPT or not _writes(request, service):
            return self._emulator.call(request, service=service, region=region, account=account)
        with self._journal.together():
            seed, now = secrets.token_hex(32), time.time()
            answer = self._emulator.call(request, service=service, region=region, account=account, seed=seed, at=now)
            if answer.status < 300:
                self._journal.add(CALL, _fact(request, answer, service, region, account, seed, now))
        return answer

    def follow(self, journal: Journal) -> None:
        """Tell `journal` every write from now on."""
        self._journal = journal

    def again(self, fact: dict[str, Any]) -> Request:
        """Make a write of an earlier run again, and give it. Raises SandboxError if it comes out different."""
        request = Request(
            method=fact["method"],
            path=fact["path"],
            query=fact["query"],
            headers={"host": "localhost", **fact["headers"]},
            body=Body([fact["body"].encode("latin-1")]),
        )
        answer = self._emulator.call(
            request,
            service=fact["service"],
            region=fact["region"],
            account=fact["account"],
            seed=fact["seed"],
            at=fact["at"],
        )
        if answer.status != fact["status"] or _digest(request, answer) != fact["answer"]:
            raise SandboxError(
                f"a write of {fact['service']} does not come out as it did when it was made ({fact['method']} {fact['path'][:80]})",
                where="the journal",
                todo="start with the version of towpath and moto that made this directory, or with an empty one",
            )
        return request

    def reconcile(self) -> list[tuple[Request, str]]:
        """After a start: where a kill came between the two, buckets are those the objects know.

        Gives the requests made for it, each with its account.
        """
        there = self._emulator.buckets()
        here = self._store.buckets.all()
        made = [(_creation(bucket), bucket.account) for bucket in here if bucket.name not in there]
        gone = there.keys() - {bucket.name for bucket in here}
        made += [
            (Request(method="DELETE", path=f"/{name}", headers={"host": "localhost"}), there[name]) for name in gone
        ]
        for request, account in made:
            self._emulated(request, service="s3", region="us-east-1", account=account)
        return made

    # --- S3 ----------------------------------------------------------------------------------------------------------

    def _s3(self, request: Request, *, region: str, account: str) -> Response:
        name, _, key = request.key_path.removeprefix("/").partition("/")
        if name and not key:
            if request.query and request.method in {"PUT", "DELETE"}:
                # The emulator takes what it does not know for the creation or deletion of the bucket itself.
                carried_out.check(identify(request, bucket=name, key="").name)
            if request.method in {"PUT", "DELETE"} and not CONFIGURATION & request.arguments.keys():
                change = self._create_bucket if request.method == "PUT" else self._delete_bucket
                with self.together():
                    return change(request, name, region=region, account=account)
            followed = {"versioning": self._put_versioning, "object-lock": self._put_lock}
            for sub, put in followed.items():
                if request.method == "PUT" and sub in request.arguments:
                    with self.together():
                        return put(request, name, region=region)
        answer = self._objects.answer(request, name, key, account=account)
        if answer is not None:
            return answer
        return self._emulated(request, service="s3", region=region, account=self._store.bucket(name).account)

    def _create_bucket(self, request: Request, name: str, *, region: str, account: str) -> Response:
        there = self._store.buckets.find(name)
        if there is not None and there.account != account:
            raise AwsError(
                "BucketAlreadyExists",
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
                409,
                details={"BucketName": name},
            )
        if there is not None and (there.region != "us-east-1" or region != "us-east-1"):
            raise AwsError(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
                409,
                details={"BucketName": name},
            )
        answer = self._emulated(request, service="s3", region=region, account=account)
        if answer.status < 300 and there is None:
            text = request.body.read()
            place = (
                xml.parse(text, "CreateBucketConfiguration").findtext("LocationConstraint") if text.strip() else None
            )
            place = "eu-west-1" if place == "EU" else place or "us-east-1"
            locked = request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"
            self._store.buckets.keep(
                Bucket(
                    name=name,
                    account=account,
                    region=place,
                    created=time.time(),
                    versioning="Enabled" if locked else None,
                    locked=locked,
                )
            )
        return answer

    def _delete_bucket(self, request: Request, name: str, *, region: str, account: str) -> Response:
        bucket = self._store.bucket(name)
        self._store.buckets.delete(name)
        answer = self._emulated(request, service="s3", region=region, account=bucket.account)
        return answer if answer.status < 300 else xml.empty(204)

    def _put_versioning(self, request: Request, name: str, *, region: str) -> Response:
        bucket = self._store.bucket(name)
        if bucket.locked:
            raise AwsError(
                "InvalidBucketState",
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
                409,
            )
        answer = self._emulated(request, service="s3", region=region, account=bucket.account)
        if answer.status < 300:
            status = xml.parse(request.body.read(), "VersioningConfiguration").findtext("Status")
            if status not in {"Enabled", "Suspended"}:
                raise xml.malformed()
            self._store.buckets.keep(replace(bucket, versioning=status))
        return answer

    def _put_lock(self, request: Request, name: str, *, region: str) -> Response:
        bucket = self._store.bucket(name)
        retention = locks.default_of(xml.parse(request.body.read(), "ObjectLockConfiguration"))
        if not bucket.locked:
            raise AwsError("InvalidBucketState", "Object Lock configuration cannot be enabled on existing buckets", 409)
        answer = self._emulated(request, service="s3", region=region, account=bucket.account)
        if answer.status < 300:
            self._store.buckets.keep(replace(bucket, retention=retention))
        return answer

    # --- for the gate's own reading ----------------------------------------------------------------------------------

    def client(self, service: str, *, account: str, region: str) -> BaseClient:
        """A botocore client whose calls go straight into the backend, for the gate's own reading of its state."""
        client = sdk_session().create_client(
            service, region_name=region, aws_access_key_id="gate", aws_secret_access_key="gate"
        )
        events: Any = client.meta.events

        def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
            return self._send(request, service=service, region=region, account=account)

        events.register("before-send.*", send)
        return client

    def _send(self, prepared: AWSPreparedRequest, *, service: str, region: str, account: str) -> AWSResponse:
        from botocore.awsrequest import AWSResponse

        url = urlsplit(str(prepared.url))
        raw: Any = prepared.body or b""
        body = Body([raw.encode() if isinstance(raw, str) else bytes(raw)])
        headers = {str(k).lower(): v.decode() if isinstance(v, bytes) else str(v) for k, v in prepared.headers.items()}
        request = Request(
            method=str(prepared.method), path=url.path or "/", query=url.query, headers=headers, body=body
        )
        answer = self.call(request, service=service, region=region, account=account)
        return AWSResponse(str(prepared.url), answer.status, cast("Any", dict(answer.headers)), _Raw(answer.read()))

    # --- the end -----------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget everything. The journal is the caller's to begin anew."""
        self._emulator.reset()
        self._store.clear()

    def close(self) -> None:
        self._store.close()


class _Raw(io.BytesIO):
    """The little of urllib3's response that botocore reads."""

    def stream(self, amt: int = 65_536, **_: object) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


def _writes(request: Request, service: str) -> bool:
    if service == "iam":
        return not request.form.get("Action", "").startswith(READS)
    return request.method not in {"GET", "HEAD"}


def _fact(
    request: Request, answer: Response, service: str, region: str, account: str, seed: str, now: float
) -> dict[str, Any]:
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.startswith(_KEPT_HEADERS) and name not in _NOT_KEPT
    }
    return {
        "service": service,
        "region": region,
        "account": account,
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": headers,
        "body": request.body.read().decode("latin-1"),
        "seed": seed,
        "at": now,
        "status": answer.status,
        "answer": _digest(request, answer),
    }


def _digest(request: Request, answer: Response) -> str:
    """Of the answer: the same seed has to give the same one."""
    body = request.body.read()
    if any(name in body for name in _ACTUAL_RANDOMNESS):
        return ""
    return hashlib.sha256(answer.read()).hexdigest()[:16]


def _creation(bucket: Bucket) -> Request:
    body = b""
    if bucket.region != "us-east-1":
        inner = xml.element("LocationConstraint", bucket.region)
        body = f'<CreateBucketConfiguration xmlns="{xml.NAMESPACE}">{inner}</CreateBucketConfiguration>'.encode()
    headers = {"host": "localhost"} | ({"x-amz-bucket-object-lock-enabled": "true"} if bucket.locked else {})
    return Request(method="PUT", path=f"/{bucket.name}", headers=headers, body=Body([body]))
