"""`towpath policy learn`: a boto3 script's least policy, under which the same script runs, and from which nothing can be taken."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from towpath.errors import UsageError, WorldError
from towpath.sandbox import job_role, learning

TOWPATH = str(Path(sys.executable).parent / "towpath")
SETUP = f'{sys.executable} -c \'import boto3; boto3.client("s3").create_bucket(Bucket="lake", CreateBucketConfiguration={{"LocationConstraint": "eu-west-1"}})\''
SCRIPT = """
import sys, uuid, boto3
s3 = boto3.client("s3")
s3.put_object(Bucket="lake", Key="raw/a", Body=b"x")
assert s3.get_object(Bucket="lake", Key="raw/a")["Body"].read() == b"x"
assert s3.list_objects_v2(Bucket="lake", Prefix="raw/")["KeyCount"] == 1
s3.delete_object(Bucket="lake", Key="raw/a")
if "more" in sys.argv:
    s3.get_bucket_location(Bucket="lake")
if "random" in sys.argv:
    s3.put_object(Bucket="lake", Key=f"raw/day/{uuid.uuid4()}", Body=b"x")
"""
EXPECTED = [
    {"Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::lake/raw/a"},
    {"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::lake", "Condition": {"StringEquals": {"s3:prefix": "raw/"}}},
]


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "job.py"
    file.write_text(SCRIPT)
    return str(file)


def job(script: str, *arguments: str) -> learning.Job:
    return learning.Job(command=[sys.executable, script, *arguments], setup=SETUP)


def bare(document: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in item.items() if k not in {"Sid", "Effect"}} for item in document["Statement"]]


def test_a_script_passes_under_what_it_was_seen_to_need(script: str) -> None:
    done = subprocess.run(
        [TOWPATH, "policy", "learn", "--verify", "--setup", SETUP, "--", sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert bare(json.loads(done.stdout)) == EXPECTED
    assert "run 2, the learned policy alone: status 0, 4 calls allowed, nothing refused" in done.stderr


@pytest.mark.long
def test_one_action_more_is_refused_and_no_action_can_be_taken_out(script: str) -> None:
    policy = learning.learn_by_running(job(script), generalise=()).policy
    assert learning.run(job(script), policy).status == 0
    more = learning.run(job(script, "more"), policy)
    assert more.status == 1
    assert [(call["action"], call["decision"]) for call in more.seen.refused] == [("s3:GetBucketLocation", "denied")]
    for index, statement in enumerate(policy["Statement"]):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        for action in actions:
            less = copy.deepcopy(dict(policy))
            less["Statement"][index]["Action"] = [each for each in actions if each != action] or "s3:GetBucketLogging"
            found = learning.run(job(script), less)
            assert found.status == 1
            assert [call["action"] for call in found.seen.refused] == [action]


@pytest.mark.long
def test_keys_that_differ_need_a_prefix(script: str) -> None:
    exact = learning.learn_by_running(job(script, "random"), generalise=())
    assert not exact.holds
    assert [call["action"] for call in exact.second.seen.refused] == ["s3:PutObject"]
    folded = learning.learn_by_running(job(script, "random"), generalise=("prefix",))
    assert folded.holds
    assert [item["Resource"] for item in bare(folded.policy) if "s3:PutObject" in item["Action"]] == [
        "arn:aws:s3:::lake/raw/*"
    ]


@pytest.mark.long
def test_a_command_that_fails_under_everything_teaches_nothing(script: str) -> None:
    with pytest.raises(WorldError, match="although everything was allowed"):
        learning.learn_by_running(learning.Job(command=["sh", "-c", "exit 3"]), generalise=())
    with pytest.raises(UsageError, match="nothing is left to learn"):
        learning.learn_by_running(learning.Job(command=["true"]), generalise=())
    with pytest.raises(UsageError, match="cannot run no-such-command"):
        learning.learn_by_running(learning.Job(command=["no-such-command"]), generalise=())


def test_the_command_holds_a_token_and_no_key(tmp_path: Path) -> None:
    out = tmp_path / "env"
    command = ["sh", "-c", f"env > {out}; stat -c %a $AWS_WEB_IDENTITY_TOKEN_FILE >> {out}"]
    assert learning.run(learning.Job(command=command), learning.EVERYTHING).status == 0
    text = out.read_text()
    assert "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/learned" in text
    assert text.endswith("600\n")
    assert not [name for name in job_role.ADMINISTRATORS if f"{name}=" in text]


def test_from_a_running_sandbox_and_from_a_file(tmp_path: Path, script: str) -> None:
    inner = f"""
    set -e
    {SETUP}
    {sys.executable} {script}
    {TOWPATH} policy learn --principal root --since 1
    {TOWPATH} sandbox calls --json > {tmp_path}/calls.json
    {TOWPATH} sandbox calls --action 's3:Put*' --who ROOT --json > {tmp_path}/puts.json
    """
    done = subprocess.run(
        [TOWPATH, "sandbox", "run", "--", "sh", "-c", inner], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert bare(json.loads(done.stdout)) == EXPECTED
    saved = [TOWPATH, "policy", "learn", "--principal", "root", "--from"]
    again = subprocess.run(
        [*saved, f"{tmp_path}/puts.json", "--out", f"{tmp_path}/policy.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 allowed call of root needs 1 action" in again.stderr
    assert bare(json.loads((tmp_path / "policy.json").read_text())) == [
        {"Action": "s3:PutObject", "Resource": "arn:aws:s3:::lake/raw/a"}
    ]
    nobody = subprocess.run(
        [*saved[:3], "--principal", "etl", "--from", f"{tmp_path}/calls.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (nobody.returncode, "nothing is left to learn" in nobody.stderr) == (2, True)


@pytest.mark.parametrize("out", ["nothing/policy.json", "."])
def test_where_to_write_it_is_looked_at_before_anything_runs(out: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    done = subprocess.run(
        [TOWPATH, "policy", "learn", "--verify", "--out", str(tmp_path / out), "--", "touch", str(ran)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write the policy: ")
    assert not ran.exists()


@pytest.mark.parametrize(("text", "says"), [("[" * 100_000, "it is no call record"), ("[1]", "it is no call record")])
def test_what_is_no_record(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "calls.json"
    file.write_text(text)
    done = subprocess.run(
        [TOWPATH, "policy", "learn", "--principal", "x", "--from", str(file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {says}\n  where: {file}\n  do: ")


def test_a_misspelt_flag_is_no_command() -> None:
    done = subprocess.run(
        [TOWPATH, "policy", "learn", "--verfy", "--", "true"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "No such option: --verfy" in done.stderr
