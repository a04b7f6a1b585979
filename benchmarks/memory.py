"""Whether the sandbox's memory stays flat: many small requests, then gigabytes put and deleted. Prints its resident size as it goes.

The small requests are signed PUTs, GETs and DELETEs of a role's session; the large ones are PUTs of 64 MiB, each deleted again. Ends with
status 1 when the resident size at the end is more than ALLOWED MiB above what it was after the first tenth of a part.

usage: python -m benchmarks.memory [REQUESTS [GIGABYTES]]      (default 100000 and 10)
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import wrk
from benchmarks.sandbox_s3 import BUCKET, PREFIX, role_session, signed
from benchmarks.wrk import Call

REQUESTS, GIGABYTES = 100_000, 10.0
ALLOWED = 48  # MiB
LARGE = 64 * 1024 * 1024  # bytes of one body
BATCH = 2_000  # small requests between two looks


def main(requests: int, gigabytes: float) -> None:
    with wrk.sandbox() as environment:
        url = environment["AWS_ENDPOINT_URL"]
        process = wrk.PROCESSES[urlsplit(url).netloc]
        session = role_session(environment)
        small = os.urandom(4096)

        def few(done: int) -> int:
            calls: list[Call] = []
            for number in range(BATCH // 4):
                path = f"/{BUCKET}/{PREFIX}memory-{done + number}"
                for method, body in (("PUT", small), ("GET", b""), ("HEAD", b""), ("DELETE", b"")):
                    calls.append(_call(method, url, path, body, session))
            _send(url, calls)
            return len(calls)

        large = os.urandom(LARGE)

        def big(done: int) -> int:
            path = f"/{BUCKET}/{PREFIX}large-{done}"
            _send(url, [_call("PUT", url, path, large, session), _call("DELETE", url, path, b"", session)])
            return LARGE

        grown = [
            _watched(f"{requests:,} requests", requests, few, process),
            _watched(f"{gigabytes:g} GB put and deleted", int(gigabytes * 10**9), big, process),
        ]
    if max(grown) > ALLOWED:
        sys.exit(f"memory grew by {max(grown):.0f} MiB: more than {ALLOWED}")


def _watched(what: str, total: int, step: Callable[[int], int], process: int) -> float:
    """Do `step` until `total` is done; MiB that the resident size grew by after the first tenth."""
    print(what)
    began, done, told = time.monotonic(), 0, 0
    sizes: list[float] = []
    while done < total:
        done += step(done)
        if done * 10 // total > told or done >= total:
            told = done * 10 // total
            sizes.append(resident(process))
            print(
                f"  {min(100, done * 100 // total):3d} %  {sizes[-1]:6.1f} MiB  {time.monotonic() - began:6.1f} s",
                flush=True,
            )
    return sizes[-1] - sizes[0]


def resident(process: int) -> float:
    """MiB."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def _call(method: str, url: str, path: str, body: bytes, session: dict[str, str]) -> Call:
    import hashlib

    return Call(
        method=method,
        path=path,
        headers=signed(method, url, path, hashlib.sha256(body).hexdigest(), session),
        body=body,
    )


def _send(url: str, calls: list[Call]) -> None:
    """One after another over one connection."""
    import http.client

    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
    try:
        for call in calls:
            connection.request(call.method, call.path, body=call.body or None, headers=dict(call.headers))
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 300:
                sys.exit(f"{call.method} {call.path}: {answer.status}")
    finally:
        connection.close()


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS,
        float(sys.argv[2]) if len(sys.argv) > 2 else GIGABYTES,
    )
