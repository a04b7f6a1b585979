"""Load from outside Python: `wrk` (Debian package `wrk`) cycling through a prepared list of requests, and servers to send it at.

Requests are complete before the load begins (signed, presigned, whatever they need), so that the load generator only copies bytes: a
signature over headers is valid for 15 minutes. Rounds alternate their order, so that what the machine does meanwhile meets everybody.

    calls = [Call(method="PUT", path="/lake/a", headers={…}, body=b"…"), …]
    results = compare([Contestant("ours", url, calls), Contestant("peer", other, calls)], rounds=5, seconds=4)
    print(ratio(results, "ours", "peer"))
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 8
PROCESSES: dict[str, int] = {}  # of the servers started here, by host and port
TOWPATH = "from towpath.cli.main import main; main()"
# moto looks into the credential scope to see which service a request is for, and at nothing else of it. Without it, it takes the
# request for an anonymous one and refuses to write over an object.
UNVERIFIED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=anybody/20250101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
}

# Each thread of wrk has its own Lua state; it starts at its own place of the list, so that two threads do not send the same at once.
SCRIPT = """
local calls = dofile("{folder}/calls.lua")
local bodies, threads = {{}}, 0
function setup(thread) thread:set("place", threads); threads = threads + 1 end
function init(args)
  for i = 1, {bodies} do
    local file = io.open("{folder}/body" .. i, "rb")
    bodies[i] = file:read("*a")
    file:close()
  end
  at = math.floor(#calls / {threads}) * place
end
function request()
  at = at % #calls + 1
  local call = calls[at]
  return call[1] .. bodies[call[2]]
end
function done(summary, latency, requests)
  io.stderr:write(string.format('{{"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d}}',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. `Host` and `Content-Length` are added where `headers` has none."""

    method: str
    path: str  # with the query string, as it is on the request line
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def head(self, host: str) -> bytes:
        names = {name.lower() for name in self.headers}
        more = {} if "host" in names else {"Host": host}
        if "content-length" not in names and (self.body or self.method in {"PUT", "POST"}):
            more["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in {**more, **self.headers}.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True)
class Contestant:
    """One server and what is sent to it; a function makes the calls anew for each round (for signatures that grow old)."""

    name: str
    url: str
    calls: Sequence[Call] | Callable[[], Sequence[Call]]


@dataclass(frozen=True, kw_only=True)
class Result:
    rate: float  # answers a second
    p50: float  # milliseconds
    p99: float  # milliseconds
    requests: int
    refused: int  # answers of 400 and above
    broken: int  # connections that failed, timeouts
    cpu: float  # milliseconds of the server's processor time for each request; 0 for a server that was not started here


def load(
    url: str, calls: Sequence[Call], *, seconds: float = 4, connections: int = CONNECTIONS, threads: int = 1
) -> Result:
    """Send `calls` again and again for `seconds` over `connections` kept-alive connections."""
    place = urlsplit(url)
    process = PROCESSES.get(place.netloc)
    bodies = {body: number for number, body in enumerate(dict.fromkeys(call.body for call in calls), 1)}
    with tempfile.TemporaryDirectory(prefix="towpath-wrk-") as name:
        folder = Path(name)
        for body, number in bodies.items():
            (folder / f"body{number}").write_bytes(body)
        rows = ",\n".join(f"{{{_lua(call.head(place.netloc))},{bodies[call.body]}}}" for call in calls)
        (folder / "calls.lua").write_text(f"return {{\n{rows}\n}}\n", encoding="latin-1")
        script = folder / "load.lua"
        script.write_text(SCRIPT.format(folder=folder, bodies=len(bodies), threads=threads))
        wrk = shutil.which("wrk") or sys.exit("wrk is missing: apt-get install wrk")
        before = _processor_time(process)
        done = subprocess.run(
            [
                wrk,
                f"-t{threads}",
                f"-c{connections}",
                f"-d{max(1, round(seconds))}s",
                "--timeout",
                "30s",
                "-s",
                script,
                f"{place.scheme}://{place.netloc}",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    found = json.loads(done.stderr[done.stderr.rindex('{"requests"') :])
    return Result(
        rate=found["requests"] / found["microseconds"] * 1e6,
        p50=found["p50"] / 1000,
        p99=found["p99"] / 1000,
        requests=found["requests"],
        refused=found["refused"],
        broken=found["broken"],
        cpu=(_processor_time(process) - before) * 1000 / max(1, found["requests"]),
    )


def _processor_time(process: int | None) -> float:
    """Seconds a process used so far, its threads' together. Unlike a rate, it says the same on a busy machine."""
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _lua(text: bytes) -> str:
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03d}" for b in text) + '"'


def compare(
    contestants: Sequence[Contestant],
    *,
    rounds: int = 5,
    seconds: float = 4,
    warm_up: float = 1,
    connections: int = CONNECTIONS,
    threads: int = 1,
    told: Callable[[str], None] = print,
) -> dict[str, list[Result]]:
    """Every contestant once a round, the order turned round each time. Ends the program when anything was refused."""
    results: dict[str, list[Result]] = {contestant.name: [] for contestant in contestants}
    for number in range(-1, rounds):
        for contestant in contestants if number % 2 else reversed(contestants):
            calls = contestant.calls() if callable(contestant.calls) else contestant.calls
            found = load(
                contestant.url,
                calls,
                seconds=warm_up if number < 0 else seconds,
                connections=connections,
                threads=threads,
            )
            if found.refused or found.broken:
                sys.exit(f"{contestant.name}: {found.refused} refused, {found.broken} broken of {found.requests}")
            if number >= 0:
                results[contestant.name].append(found)
                told(
                    f"  round {number + 1} {contestant.name}: {found.rate:,.0f}/s, p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms, {found.cpu:.2f} ms of processor"
                )
    return results


def median(results: Sequence[Result]) -> float:
    return statistics.median(result.rate for result in results)


def ratio(results: Mapping[str, Sequence[Result]], ours: str, peer: str) -> float:
    """Median of the rounds' own ratios: both of a round were measured side by side."""
    return statistics.median(a.rate / b.rate for a, b in zip(results[ours], results[peer], strict=True))


def processor_ratio(results: Mapping[str, Sequence[Result]], ours: str, peer: str) -> float:
    """How much more the peer computes for a request: the ratio that a machine busy with other things cannot spoil."""
    return statistics.median(b.cpu / a.cpu if a.cpu else 0.0 for a, b in zip(results[ours], results[peer], strict=True))


# --- servers ---------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """Without anything of AWS, with this checkout's source first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TOWPATH_", "MOTO_"))}
    return {**kept, "PYTHONPATH": str(ROOT / "src")}


@contextmanager
def server(command: Sequence[str], url: str, *, seconds: float = 30, **more: str) -> Iterator[str]:
    """A subprocess that answers at `url` (whatever it answers), ended when the block ends."""
    with subprocess.Popen(
        list(command),
        env={**environment(), **more},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            end = time.monotonic() + seconds
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > end:
                    sys.exit(f"{' '.join(command)} does not answer at {url}")
                time.sleep(0.05)
            PROCESSES[urlsplit(url).netloc] = process.pid
            yield url
        finally:
            _end(process)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


def _answers(url: str) -> bool:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def moto_server() -> Iterator[str]:
    """The peer: moto's own server, which authenticates nobody. Gives its URL."""
    port = free_port()
    with server(
        [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], f"http://127.0.0.1:{port}/moto-api/"
    ) as url:
        yield url.removesuffix("/moto-api/")


@contextmanager
def sandbox(*arguments: str) -> Iterator[dict[str, str]]:
    """A `towpath sandbox` of this checkout. Gives its environment (AWS_ENDPOINT_URL, keys, TOWPATH_SANDBOX_URL, …)."""
    with subprocess.Popen(
        [sys.executable, "-c", TOWPATH, "sandbox", "--port", "0", "--json", *arguments],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit("the sandbox did not start")
            told = json.loads(line)["environment"]
            PROCESSES[urlsplit(told["AWS_ENDPOINT_URL"]).netloc] = process.pid
            yield told
        finally:
            _end(process)
