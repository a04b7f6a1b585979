"""The emulator behind the gate: moto, as a WSGI app in this process, authenticated by nobody but the gate.

moto's own interface (`/moto-api`) and its instance metadata are not reachable: `Backend.call` refuses their paths,
whoever asks.
"""

from __future__ import annotations

import importlib
import io
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

from towpath.sandbox.errors import AwsError, SandboxError
from towpath.sandbox.wire import Body, Request, Response

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from botocore.client import BaseClient

# Read by moto when it is imported: AWS's managed policies exist, and no response invites every web page to read it.
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"

OWN_PATHS: Final = (
    "/moto-api",
    "/favicon.ico",
    "/latest/meta-data",
    "/latest/api",
    "/latest/dynamic",
    "/latest/user-data",
)
NOT_FORWARDED: Final = frozenset(
    {"x-moto-account-id", "host", "connection", "content-length", "transfer-encoding", "expect"}
)
HOP_BY_HOP: Final = frozenset({"connection", "content-length", "transfer-encoding", "date", "server"})


class Backend:
    """moto. S3 calls run side by side; everything else, whose state is small, one at a time."""

    _taken = threading.Lock()  # moto keeps its state in module globals: two sandboxes of one process would share it

    def __init__(self) -> None:
        if not self._taken.acquire(blocking=False):
            raise SandboxError(
                "this process has had its sandbox already; the emulator's state is the process's own",
                where="towpath.sandbox",
                todo="share one sandbox (the pytest fixture is one for the session), or start another process: `towpath sandbox`",
            )
        _without_the_users_profile()
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.RLock()

    def call(self, request: Request, *, service: str, region: str, account: str) -> Response:
        """Run one request that the gate has already allowed. Raises AwsError InternalFailure if the emulator breaks."""
        if request.key_path.lower().startswith(OWN_PATHS):
            raise AwsError(
                "NoSuchKey", "The specified key does not exist.", 404, why="the emulator's own paths are closed"
            )
        answer = Response(status=500)

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
            answer.status = int(status.split(" ", 1)[0])
            # To a HEAD, Content-Length is the object's and not this response's.
            dropped = HOP_BY_HOP - {"content-length"} if request.method == "HEAD" else HOP_BY_HOP
            answer.headers = [(name, value) for name, value in headers if name.lower() not in dropped]

        environ = _environ(request, service=service, region=region, account=account)
        try:
            with nullcontext() if service == "s3" else self._lock:
                answer.body = b"".join(_closing(self._app(environ, start_response)))
        except NotImplementedError as error:
            raise AwsError("NotImplemented", f"this sandbox's emulator does not have it: {error}", 501) from None
        except Exception as error:
            raise AwsError(
                "InternalFailure",
                "The request processing has failed because of an unknown error, exception or failure.",
                500,
                why=f"the emulator raised {type(error).__name__}: {error}",
            ) from error
        return answer

    def client(self, service: str, *, account: str, region: str) -> BaseClient:
        """A botocore client whose calls go straight into the emulator, for the gate's own reading of its state."""
        client = _session().create_client(
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


class _Raw(io.BytesIO):
    """The little of urllib3's response that botocore reads."""

    def stream(self, amt: int = 65_536, **_: object) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


@lru_cache(maxsize=1)
def _session() -> Any:
    """An SDK session that reads no setting of the user's: neither AWS_PROFILE nor a configuration file."""
    import botocore.session

    nothing: dict[str, tuple[None, None, str | None, None]] = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return botocore.session.Session(session_vars=nothing)


def _without_the_users_profile() -> None:
    """The emulator asks the SDK for lists of regions, one of them when it is imported: with the user's AWS_PROFILE that can fail."""
    boto3: Any = importlib.import_module("boto3")
    ours, theirs = partial(boto3.Session, botocore_session=_session()), boto3.Session
    boto3.Session = ours
    try:
        for name in ("core.base_backend", "ec2.models.availability_zones_and_regions", "eks.utils"):
            module: Any = importlib.import_module(f"moto.{name}")
            module.Session = ours
    finally:
        boto3.Session = theirs


def _closing(parts: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from parts
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()


def _environ(request: Request, *, service: str, region: str, account: str) -> dict[str, Any]:
    host = request.headers.get("host", "localhost")
    stream = request.body.stream()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        # WSGI wants the decoded path as latin-1 text (PEP 3333).
        "PATH_INFO": unquote(request.path, encoding="latin-1") or "/",
        "QUERY_STRING": request.query,
        "RAW_URI": request.path + (f"?{request.query}" if request.query else ""),
        "REQUEST_URI": request.path + (f"?{request.query}" if request.query else ""),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "SCRIPT_NAME": "",
        "CONTENT_LENGTH": str(request.body.length),
        "HTTP_HOST": host,
        "HTTP_X_MOTO_ACCOUNT_ID": account,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name not in NOT_FORWARDED:
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    # The emulator routes by the credential scope; the gate has decided which service this is, so it says so.
    environ["HTTP_AUTHORIZATION"] = (
        f"AWS4-HMAC-SHA256 Credential=GATE/20200101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
    return environ
