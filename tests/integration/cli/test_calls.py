"""`towpath sandbox calls --follow` on a terminal and in a pipe, filters, faults at run time."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import boto3
import pyte
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

TOWPATH = str(Path(sys.executable).parent / "towpath")


@pytest.fixture
def s3(towpath_sandbox_environment: dict[str, str]) -> Generator[Any]:
    client = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
    yield client
    client.close()


def towpath(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOWPATH, "sandbox", *arguments], capture_output=True, text=True, check=False, timeout=60)


def newest() -> int:
    return int(json.loads(towpath("calls", "--json", "-n", "1").stdout or "[]")[-1]["number"])


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_rows_come_as_calls_do_and_ctrl_c_ends_it(s3: Any, columns: int) -> None:
    screen = pyte.Screen(columns, 24)
    stream = pyte.ByteStream(screen)
    child, descriptor = pty.fork()
    if child == 0:
        os.environ.update({"COLUMNS": str(columns), "LINES": "24", "TERM": "xterm-256color"})
        os.execv(TOWPATH, [TOWPATH, "sandbox", "calls", "--follow", "--action", "s3:List*"])

    def until(text: str) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and text not in "\n".join(screen.display):
            if select.select([descriptor], [], [], 0.2)[0]:
                stream.feed(os.read(descriptor, 65536))
        assert text in "\n".join(screen.display)

    try:
        until("Ctrl-C ends")
        s3.list_buckets()
        until("s3:ListAllMyBuckets")
    finally:
        os.kill(child, signal.SIGINT)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if not os.read(descriptor, 65536):
                break
        except OSError:
            break
    os.close(descriptor)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "Traceback" not in "\n".join(screen.display)


def test_in_a_pipe_every_call_is_one_line_of_json_and_none_is_lost(s3: Any) -> None:
    s3.list_buckets()
    begin = newest()
    with subprocess.Popen(
        [TOWPATH, "sandbox", "calls", "-f", "--json", "-n", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert json.loads(running.stdout.readline())["number"] == begin
        for _ in range(20):
            s3.list_buckets()
        found = [json.loads(running.stdout.readline()) for _ in range(20)]
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0
        assert "Traceback" not in running.stderr.read()
    assert [call["number"] for call in found] == list(range(begin + 1, begin + 21))
    assert found[0]["needs"] == [{"action": "s3:ListAllMyBuckets", "resource": "*", "context": {}, "allowed": True}]


def test_faults_at_run_time_are_recorded_as_injected(s3: Any) -> None:
    s3.list_buckets()
    assert towpath("fail", "add", "s3:ListAllMyBuckets:SlowDown:1/2").stdout == "1 added\n"
    try:
        with pytest.raises(ClientError) as caught:
            s3.list_buckets()
        assert caught.value.response["Error"]["Code"] == "SlowDown"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        s3.list_buckets()
        assert "s3:ListAllMyBuckets:SlowDown:1/2  2 calls" in towpath("fail", "list").stdout
        last = json.loads(towpath("calls", "--json", "--denied", "-n", "1").stdout)[0]
        assert (last["decision"], last["code"], last["needs"]) == ("injected", "SlowDown", [])
        assert "did you mean SlowDown" in towpath("fail", "add", "s3:PutObject:SlowDwn:1").stderr
    finally:
        assert towpath("fail", "clear").stdout == "1 removed\n"
    s3.list_buckets()
    assert towpath("fail", "list").stdout == "no call is made to fail\n"


def test_an_sdk_retries_what_is_injected(s3: Any, towpath_sandbox_environment: dict[str, str]) -> None:
    towpath("fail", "add", "sts:GetCallerIdentity:Throttling:1/2")
    try:
        sts = boto3.client("sts")
        begin = newest()
        assert sts.get_caller_identity()["Account"] == "123456789012"
        sts.close()
        after = json.loads(towpath("calls", "--json").stdout)
        assert [call["decision"] for call in after if call["number"] > begin] == ["injected", "allowed"]
    finally:
        towpath("fail", "clear")
