"""`towpath sandbox` as a process: what it prints, what status it ends with, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TOWPATH = str(Path(sys.executable).parent / "towpath")


def towpath(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOWPATH, *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextmanager
def start(*arguments: str) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [TOWPATH, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def processes_of_session(session: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_run_ends_with_the_commands_status(script: str, status: int) -> None:
    assert towpath("sandbox", "run", "--", "sh", "-c", script).returncode == status


def test_run_gives_the_administrators_environment_and_nothing_of_the_users() -> None:
    done = towpath(
        "sandbox", "run", "--", sys.executable, "-c",
        "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(('AWS', 'TOWPATH'))}))",
        env={"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "real", "AWS_ENDPOINT_URL_S3": "https://real"},
    )  # fmt: skip
    seen = json.loads(done.stdout)
    assert seen["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "TOWPATH_SANDBOX_URL",
        "TOWPATH_SANDBOX_SECRET",
    } <= set(seen)
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} & set(seen)


def test_run_of_a_command_that_is_not_there() -> None:
    done = towpath("sandbox", "run", "--", "no-such-command")
    assert done.returncode == 2
    assert "error: cannot run no-such-command" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_run_stopped_leaves_nothing(number: signal.Signals, status: int) -> None:
    with start(
        "sandbox", "run", "--", "sh", "-c", "trap 'exit 130' INT; echo up; while :; do sleep 0.1; done"
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        if number == signal.SIGINT:
            os.killpg(running.pid, number)  # a terminal's Ctrl-C reaches the whole group
        else:
            running.send_signal(number)
        assert running.wait(20) == status
        deadline = time.monotonic() + 5
        while processes_of_session(running.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes_of_session(running.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_foreground_prints_its_environment_and_stops_cleanly(number: signal.Signals) -> None:
    with start("sandbox", "--port", "0", "--json") as running:
        assert running.stdout is not None
        document = json.loads(running.stdout.readline())
        env = document["environment"]
        assert env["AWS_ENDPOINT_URL"] == document["endpoint"]
        assert env["TOWPATH_SANDBOX_TLS_ENDPOINT"] == document["tls_endpoint"]
        trusting = ssl.create_default_context(cafile=document["ca_file"])
        with pytest.raises(urllib.error.HTTPError, match="403"):  # it answers, and over TLS
            urllib.request.urlopen(document["tls_endpoint"], timeout=5, context=trusting)
        assert towpath("sandbox", "token", "--service-account", "data/hd-job-sa", env=env).stdout.count(".") == 2
        running.send_signal(number)
        assert running.wait(20) == 0
        assert running.stderr is not None
        assert "Traceback" not in running.stderr.read()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(document["endpoint"], timeout=2)
        gone = towpath("sandbox", "token", "--service-account", "data/hd-job-sa", env=env)
        assert gone.returncode == 1
        assert not Path(document["ca_file"]).exists()
        assert "does not answer" in gone.stderr


def test_exports_are_shell() -> None:
    with start("sandbox", "--port", "0") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        first = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        lines = running.stdout.read().splitlines()
        running.wait(20)
        assert "Ctrl-C stops it" in first
        assert lines
        assert all(line.startswith("export ") for line in lines)
        script = "\n".join([*lines, 'echo "$AWS_ENDPOINT_URL"'])
        shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        assert shell.stdout.startswith("http://127.0.0.1:")


def test_listening_beyond_loopback_is_said() -> None:
    with start("sandbox", "--port", "0", "--listen", "0.0.0.0") as running:
        assert running.stderr is not None
        running.stderr.readline()
        warning = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        running.wait(20)
        assert "warning: it listens on 0.0.0.0, open to that network" in warning


def test_port_taken() -> None:
    with start("sandbox", "--port", "0", "--json") as running:
        assert running.stdout is not None
        port = json.loads(running.stdout.readline())["endpoint"].rsplit(":", 1)[1]
        taken = towpath("sandbox", "--port", port)
        running.send_signal(signal.SIGINT)
        running.wait(20)
        assert taken.returncode == 1
        assert f":{port}" in taken.stderr
        assert "Traceback" not in taken.stderr


def inside(script: str) -> subprocess.CompletedProcess[str]:
    return towpath(
        "sandbox", "run", "--", "bash", "-c", script, env={"PATH": f"{Path(TOWPATH).parent}:{os.environ['PATH']}"}
    )


def test_token_annotate_and_calls_inside_a_run() -> None:
    done = inside(
        """
        set -e
        towpath sandbox token --service-account data/hd-job-sa --audience a --audience b --expires-in -60 --json
        towpath sandbox annotate data/hd-job-sa eks.amazonaws.com/role-arn=arn:aws:iam::123456789012:role/r
        towpath sandbox annotate data/hd-job-sa eks.amazonaws.com/role-arn- --json
        python -c 'import botocore.session as s; s.Session().create_client("sts").get_caller_identity()'
        python -c 'import botocore.session as s; s.Session().create_client("sts", aws_secret_access_key="x", aws_access_key_id="AKIAIOSFODNN7EXAMPLE").get_caller_identity()' 2>/dev/null || true
        towpath sandbox calls --json
        towpath sandbox calls --json --denied
        towpath sandbox calls
        """
    )
    assert done.returncode == 0, done.stderr
    token, annotated, removed, calls, denied, *table = done.stdout.splitlines()
    assert json.loads(token)["token"].count(".") == 2
    assert annotated == "serviceaccount/hd-job-sa annotated"
    assert not json.loads(removed)["metadata"].get("annotations")
    recorded: Sequence[dict[str, Any]] = json.loads(calls)
    assert [call["decision"] for call in recorded] == ["allowed", "denied"]
    assert json.loads(denied) == [recorded[1]]
    assert any("sts:GetCallerIdentity" in line for line in table)


def test_reset_empties_it_and_asks_first() -> None:
    done = inside(
        """
        python -c 'import botocore.session as s; s.Session().create_client("s3").create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})'
        names='import botocore.session as s; print(len(s.Session().create_client("s3").list_buckets()["Buckets"]))'
        echo n | towpath sandbox reset; echo $?
        python -c "$names"
        towpath sandbox reset --yes
        python -c "$names"
        towpath sandbox calls --json
        """
    )
    assert done.returncode == 0, done.stderr
    status, before, said, after, calls = done.stdout.splitlines()
    assert (status.strip(), before, said, after) == ("2", "1", "the sandbox is as it was when it started", "0")
    assert [call["action"] for call in json.loads(calls)] == ["s3:ListAllMyBuckets"]
    assert "emptying it needs a yes, and nobody can be asked here" in done.stderr


def test_faults_from_the_start_hit_the_same_calls_for_the_same_seed() -> None:
    script = """
import botocore.session as s
from botocore.config import Config
sts = s.Session().create_client("sts", config=Config(retries={"total_max_attempts": 1}))
out = ""
for _ in range(20):
    try:
        sts.get_caller_identity()
        out += "."
    except Exception as error:
        out += "x" if "Throttling" in str(error) else "?"
print(out)
"""
    arguments = ("sandbox", "run", "--fail", "sts:GetCallerIdentity:Throttling:0.5", "--fail-seed")
    first, again, other = (
        towpath(*arguments, seed, "--", sys.executable, "-c", script).stdout for seed in ("1", "1", "2")
    )
    assert first == again
    assert first != other
    assert set(first.strip()) == {".", "x"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("sandbox", "token", "--service-account", "hd-job-sa"), "NAMESPACE/NAME"),
        (("sandbox", "token", "--service-account", "Data/x y"), "service account"),
        (("sandbox", "token", "--service-account", "data/x", "--cluster", "nope"), "nope"),
        (("sandbox", "annotate", "data/x", "key"), "neither KEY=VALUE nor KEY-"),
        (("sandbox", "annotate", "data/x", "a b=c"), "'a b' is no name of an annotation"),
    ],
)
def test_bad_input_inside_a_run(arguments: Sequence[str], says: str) -> None:
    done = towpath("sandbox", "run", "--", TOWPATH, *arguments)
    assert done.returncode in {1, 2}
    assert says.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("sandbox", "token", "--service-account", "data/x"), "towpath sandbox"),
        (("sandbox", "--account", "12"), "account"),
        (("sandbox", "--region", "mars-1"), "mars-1"),
        (("sandbox", "--listen", "nowhere.invalid"), "nowhere.invalid"),
        (("sandbox", "--port", "99999"), "65535"),
        (("sandbox", "--map-issuer", "x"), "--map-issuer"),
        (("sandbox", "--host", "a b"), "a b"),
        (("sandbox", "run"), "COMMAND"),
        (("sandbox", "--fail", "s3:PutObject:SlowDwn:1"), "did you mean SlowDown"),
        (("sandbox", "run", "--fail", "x", "--", "true"), "service:action:code:rate"),
        (("sandbox", "--accounts", "12"), "is not an account"),
        (("sandbox", "fail", "add", "s3:PutObject:SlowDown:2"), "is no rate"),
        (("sandbox", "reset", "--yes"), "towpath sandbox"),
        (("nonsense",), "nonsense"),
        (("identity", "aply"), "aply"),
    ],
)
def test_bad_input_outside(arguments: Sequence[str], says: str) -> None:
    done = towpath(*arguments)
    assert done.returncode in {1, 2}, done.stdout
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        (), ("identity",), ("identity", "apply"), ("identity", "plan"), ("identity", "doctor"), ("identity", "prove"), ("identity", "destroy"),
        ("sandbox",), ("sandbox", "run"), ("sandbox", "token"), ("sandbox", "annotate"), ("sandbox", "calls"), ("demo",),
        ("sandbox", "reset"), ("sandbox", "fail"), ("sandbox", "fail", "add"), ("policy",), ("policy", "check"), ("policy", "explain"), ("policy", "presets"),
        ("policy", "learn"),
    ],
)  # fmt: skip
def test_every_command_has_help(command: Sequence[str]) -> None:
    done = towpath(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--state", "DIR", "run", "--", "true"], 2, "error: --state stands in front of run, which does not see it"),
        (["--region", "eu-west-1", "calls"], 2, "error: --region stands in front of calls"),
        (["run", "--prot", "5", "--", "true"], 2, "No such option: --prot"),
        (["run", "--fsync", "--", "true"], 2, "error: there is nothing to keep\n  where: --fsync"),
        (["run", "--state", "", "--", "true"], 2, "error: the directory's name is empty\n  where: --state"),
        (["run", "--region", "moon", "--", "true"], 2, "error: 'moon' is not a region\n  where: --region"),
        (["run", "--fail", "s3:PutObject:Nonsense:1", "--", "true"], 2, "known here; they are AccessDenied"),
        (["run", "--fail", "s3:PutObject:Slowdown:1", "--", "true"], 2, "did you mean SlowDown? They are AccessDenied"),
    ],
)
def test_mistakes_in_flags(words: list[str], status: int, says: str, tmp_path: Path) -> None:
    done = towpath("sandbox", *(str(tmp_path / "state") if word == "DIR" else word for word in words))
    assert done.returncode == status
    assert says in done.stderr
    assert not (tmp_path / "state").exists()


def test_flags_behind_run_and_the_commands_own_without_dashes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = towpath("sandbox", "run", "--state", str(state), "--fsync", "sh", "-c", "echo $1 $2", "sh", "--json", "-n")
    assert (done.returncode, done.stdout) == (0, "--json -n\n")
    assert (state / "journal").exists()


@pytest.mark.parametrize(("answer", "status", "says"), [("n", 1, "nothing was changed"), ("y", 0, "as it was when it")])
def test_reset_on_a_terminal(answer: str, status: int, says: str) -> None:
    with start("sandbox", "--port", "0", "--json") as running:
        assert running.stdout is not None
        env = json.loads(running.stdout.readline())["environment"]
        child, descriptor = pty.fork()
        if child == 0:
            os.environ.update(env)
            os.execv(TOWPATH, [TOWPATH, "sandbox", "reset"])
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(descriptor, 1024)
        os.write(descriptor, f"{answer}\n".encode())
        while True:
            try:
                seen += os.read(descriptor, 1024)
            except OSError:
                break
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
        assert b"empty the sandbox at " in seen
        assert says in seen.decode()
        running.send_signal(signal.SIGINT)
        running.wait(20)
