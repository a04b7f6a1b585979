"""For a client that asks for an AWS host by its own name, at port 443, and trusts the system's roots alone.

The client's process gets a mount namespace in which that name is a loopback address and the roots have the sandbox's CA
beside them; at that address a relay passes the bytes on. Nothing of the machine changes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from towpath.sandbox.main import Sandbox

ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
HOSTS = Path("/etc/hosts")


@contextmanager
def relay(sandbox: Sandbox, name: str, folder: Path) -> Iterator[list[str]]:
    """The words to put before a command so that it finds the sandbox at `name`; skips where that cannot be done."""
    _needed()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = f"127.77.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
        try:
            listener.bind((address, 443))
        except OSError as error:
            pytest.skip(f"cannot listen on {address}:443 for {name}: {error.strerror}")
        listener.listen(16)
        threading.Thread(target=_pass_on, args=(listener, urlsplit(sandbox.endpoint).port), daemon=True).start()
        (folder / "hosts").write_text(f"{HOSTS.read_text()}\n{address} {name}\n")
        roots = sandbox.environment()["AWS_CA_BUNDLE"]
        mounts = (
            f"mount --bind {shlex.quote(str(folder / 'hosts'))} {HOSTS} && mount --bind {shlex.quote(roots)} {ROOTS}"
        )
        try:
            yield ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # or the thread that accepts would keep it open


def _needed() -> None:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None or not ROOTS.is_file():
        pytest.skip("a mount namespace needs Linux, root, unshare and Debian's roots")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine makes no mount namespaces")


def _pass_on(listener: socket.socket, port: int | None) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection(("127.0.0.1", port or 0))
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while part := source.recv(65_536):
            target.sendall(part)
    except OSError:
        pass
    finally:
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
