"""moto, as a WSGI app in this process, authenticated by nobody but the gate.

moto's own interface (`/moto-api`) and its instance metadata are not reachable: `Emulator.call` refuses their paths, whoever asks. Its
ids come from one generator and its dates from one clock, so a call made again with the same seed at the same time gives the same answer.
"""

from __future__ import annotations

import importlib
import io
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final
from urllib.parse import unquote

from towpath.iam import partition as partitions
from towpath.sandbox import emulator_iam
from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Request, Response

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
    # The gate has read the body as it came; the emulator would decompress it and read another.
    {"x-moto-account-id", "host", "connection", "content-length", "transfer-encoding", "expect", "content-encoding"}
)
HOP_BY_HOP: Final = frozenset({"connection", "content-length", "transfer-encoding", "date", "server"})


class Emulator:
    """One call at a time: its state is small, and the calls that take bytes are not its own."""

    def __init__(self) -> None:
        self._clock = _Clock()
        # moto makes an endpoint's name when its EKS is imported: the same one in every process.
        _seed("import")
        sys.meta_path.insert(0, _WithoutTheUsersProfile())
        importlib.import_module("moto.eks.models")
        _seed(secrets.token_hex(32))
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.RLock()
        self._ready: set[tuple[str, str, str]] = set()

    @property
    def version(self) -> str:
        return str(importlib.import_module("moto").__version__)

    def call(
        self,
        request: Request,
        *,
        service: str,
        region: str,
        account: str,
        seed: str | None = None,
        at: float | None = None,
    ) -> Response:
        """Run one request that the gate has already allowed. Raises AwsError InternalFailure if the emulator breaks.

        With `seed` and `at` (seconds since 1970) its ids and dates are theirs.
        """
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
        with self._lock:
            if service == "iam":
                emulator_iam.install()  # not before: a start without IAM is spared its import
            if seed is not None:
                self._prepare(service, region, account)
                _seed(seed)
            self._clock.fixed = at
            try:
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
            finally:
                self._clock.fixed = None
        if service != "s3" and answer.status in {404, 405} and answer.body[:15].lower() == b"<!doctype html>":
            # A page of the web framework below the emulator: no route of it takes such a path. (By its type alone it cannot be known:
            # the older services answer JSON under text/html.)
            raise AwsError("UnknownOperationException", f"{request.method} {request.path[:120]} is no operation.", 404)
        return answer

    def _prepare(self, service: str, region: str, account: str) -> None:
        """Make the account's (empty) service beforehand: moto makes it at the first call, out of the same generator."""
        place = (service, account, region if service == "eks" else partitions.of_region(region).name)
        if place in self._ready:
            return
        _seed(":".join(place))
        backends: Any = importlib.import_module("moto.backends")
        # Indexing makes it.
        _ = backends.get_backend(service)[account][place[2]]
        self._clock.install()
        self._ready.add(place)

    def buckets(self) -> dict[str, str]:
        """Every bucket it has, with its account."""
        backends: Any = importlib.import_module("moto.backends")
        return {
            name: account
            for account, places in backends.get_backend("s3").items()
            for place in places.values()
            for name in place.buckets
        }

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            models: Any = importlib.import_module("moto.moto_api._internal.models")
            models.moto_api_backend.reset()
            self._ready.clear()


class _Clock:
    """Takes the place of moto's own, in every module that has it by name."""

    def __init__(self) -> None:
        self.fixed: float | None = None
        core: Any = importlib.import_module("moto.core.utils")
        self._original = core.utcnow
        self.install()

    def install(self) -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("moto.") and getattr(module, "utcnow", None) is self._original:
                module.utcnow = self.now  # pyright: ignore[reportAttributeAccessIssue]

    def now(self) -> datetime:
        """UTC without saying so, as moto has it."""
        return datetime.fromtimestamp(time.time() if self.fixed is None else self.fixed, UTC).replace(tzinfo=None)


def _seed(value: str) -> None:
    internal: Any = importlib.import_module("moto.moto_api._internal")
    internal.mock_random.seed(value)


@lru_cache(maxsize=1)
def sdk_session() -> Any:
    """An SDK session that reads no setting of the user's: neither AWS_PROFILE nor a configuration file."""
    import botocore.session

    nothing: dict[str, tuple[None, None, str | None, None]] = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return botocore.session.Session(session_vars=nothing)


# Modules of moto that ask the SDK for lists of regions, the last one when it is imported: with the user's AWS_PROFILE that can fail.
_ASKING: Final = frozenset(
    {"moto.core.base_backend", "moto.eks.utils", "moto.ec2.models.availability_zones_and_regions"}
)


class _WithoutTheUsersProfile(MetaPathFinder):
    """Has those modules imported with an SDK session of our own, whenever that is: EC2 alone takes half a second, and is seldom asked."""

    def __init__(self) -> None:
        self._boto3: Any = importlib.import_module("boto3")
        self._ours = partial(self._boto3.Session, botocore_session=sdk_session())
        for name in _ASKING & sys.modules.keys():
            sys.modules[name].Session = self._ours  # pyright: ignore[reportAttributeAccessIssue]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname not in _ASKING:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        original = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            theirs, self._boto3.Session = self._boto3.Session, self._ours
            try:
                original(module)
            finally:
                self._boto3.Session = theirs

        spec.loader.exec_module = exec_module
        return spec


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
        elif name not in NOT_FORWARDED and "_" not in name:  # x_moto_account_id would be x-moto-account-id to WSGI
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    # The emulator routes by the credential scope; the gate has decided which service this is, so it says so.
    environ["HTTP_AUTHORIZATION"] = (
        f"AWS4-HMAC-SHA256 Credential=GATE/20200101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
    return environ
