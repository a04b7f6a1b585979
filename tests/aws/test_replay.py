"""The harness with the sandbox standing in for AWS: every case answers as expected and alike, a difference is told, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

import pytest
from tools.aws import __main__ as main
from tools.aws import comparison
from tools.aws.cases import DIRECTORY, NEEDS, Case, load
from tools.aws.replay import Replay
from tools.aws.sandboxed import side_of
from tools.aws.side import NAME, TAG, Answer, Side
from tools.aws.sweep import sweep

from towpath.sandbox.main import Sandbox

CASES = load()
OTHER = "111122223333"
FEW = [case for case in CASES if case.name in {"a boundary limits", "an explicit deny is named"}]
ACROSS = "a role is assumed from another account when both sides say so"
WITH_OTHER = [*FEW[:1], *(case for case in CASES if case.name == ACROSS)]


@pytest.fixture
def sides(towpath_sandbox: Sandbox) -> Generator[tuple[Side, Side]]:
    with ExitStack() as stack:
        yield (
            stack.enter_context(side_of(towpath_sandbox, name="aws", other=OTHER)),
            stack.enter_context(side_of(towpath_sandbox, other=OTHER)),
        )


def leftovers(sandbox: Sandbox) -> list[str]:
    """What anybody's run would sweep, found by the account's root."""
    with side_of(sandbox, run="towpath-look-1", other=OTHER) as side:
        try:
            return [name for each in side.accounts for name in made_in(each) if name.startswith(NAME)]
        finally:
            for each in side.accounts:
                each.close()


def made_in(side: Side) -> list[str]:
    iam, s3 = side.client("iam"), side.client("s3")
    return [
        *(item["RoleName"] for page in iam.get_paginator("list_roles").paginate() for item in page["Roles"]),
        *(item["UserName"] for page in iam.get_paginator("list_users").paginate() for item in page["Users"]),
        *(
            item["PolicyName"]
            for page in iam.get_paginator("list_policies").paginate(Scope="Local")
            for item in page["Policies"]
        ),
        *(item["Name"] for item in s3.list_buckets()["Buckets"]),
    ]


@pytest.mark.long
def test_every_case_is_answered_as_written_and_alike(sides: tuple[Side, Side], towpath_sandbox: Sandbox) -> None:
    answers: list[list[list[Answer]]] = []
    for side in sides:
        with comparison.removed_afterwards(side, lambda _: None):
            answers.append(Replay(side=side).run(CASES))
    wrong = [
        f"{case.name}: {step.call} as {step.who}: {answer}, expected {step.code or 'done'}: {step.message}"
        for case, found in zip(CASES, answers[0], strict=True)
        for step, answer in zip(case.steps, found, strict=True)
        if not comparison.as_written(step, answer)
    ]
    assert wrong == []
    assert answers[0] == answers[1]
    assert leftovers(towpath_sandbox) == []


class Altered(Side):
    """AWS as it would be if it said one thing in other words: the first answer with `words` has `others` there."""

    words = others = ""
    done = False

    def answer(self, call):  # type: ignore[no-untyped-def]
        return self.altered(super().answer(call))

    def answer_of_url(self, method: str, url: str, body: bytes | None) -> Answer:
        return self.altered(super().answer_of_url(method, url, body))

    def altered(self, found: Answer) -> Answer:
        if self.done or self.words not in str(found):
            return found
        self.done = True
        new = {name: getattr(found, name).replace(self.words, self.others) for name in ("code", "message")}
        return replace(found, **new, keys=tuple(key.replace(self.words, self.others) for key in found.keys))


def test_two_sandboxes_do_not_differ(sides: tuple[Side, Side]) -> None:
    aws, sandbox = sides
    assert comparison.compare(WITH_OTHER, aws=aws, sandbox=sandbox) == []


@pytest.mark.parametrize(
    ("case", "words", "step", "what"),
    [
        ("a boundary limits", "boundary", "s3.get_object as bounded", "message"),
        ("many keys are deleted one by one", "explicit deny", "s3.delete_objects as r", "keys"),
        ("many keys are deleted one by one", "absent: deleted", "s3.delete_objects as r", "keys"),
        ("a presigned URL works only as it was signed", "SignatureDoesNotMatch", "s3.get_object as admin", "code"),
        ("a presigned URL has its time", "has expired", "s3.get_object as admin", "message"),
        ("a presigned URL has its time", "AuthorizationQueryParametersError", "s3.get_object as admin", "code"),
        ("a session's key is worth nothing without its token", "InvalidAccessKeyId", "s3.get_object as r", "code"),
        ("a session's key is worth nothing without its token", "InvalidClientTokenId", "sts.get_caller_identity as r", "code"),
        ("S3 by a wrong clock", "RequestTimeTooSkewed", "s3.get_object as admin", "code"),
        ("STS by a wrong clock", "not yet current", "sts.get_caller_identity as admin", "message"),
        ("S3 signed for another region", "AuthorizationHeaderMalformed", "s3.get_object as admin", "code"),
        (ACROSS, "AccessDenied", "sts.assume_role as bare", "code"),
        ("a bucket policy lets another account's role in, if that one's own policies do", "AccessDenied", "s3.get_object as both", "code"),
        ("a version is read with a permission of its own", "NoSuchVersion", "s3.get_object as lists", "code"),
        ("a deleted role's live session is worth nothing", "InvalidClientTokenId", "sts.get_caller_identity as r", "code"),
    ],
)  # fmt: skip
def test_one_altered_answer_is_one_difference(
    sides: tuple[Side, Side], towpath_sandbox: Sandbox, case: str, words: str, step: str, what: str
) -> None:
    real, sandbox = sides
    aws = Altered(**{item.name: getattr(real, item.name) for item in fields(Side)})
    aws.words, aws.others = words, "another"
    found = comparison.compare([item for item in CASES if item.name == case], aws=aws, sandbox=sandbox)
    assert [(item.case, item.step, item.what) for item in found] == [(case, step, what)]
    assert leftovers(towpath_sandbox) == []


def test_differences_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    said = Answer(code="", message="", status=200, keys=("raw/one: deleted",))
    other = replace(said, keys=("raw/one: AccessDenied: no",))
    main.report([comparison.Difference(case="c", step="s", aws=said, sandbox=other)], cases=2)
    told = capsys.readouterr().out
    assert "1 answers differ in 2 cases" in told
    assert "raw/one: deleted" in told
    main.report([], cases=len(FEW))
    assert "answered alike" in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_ends_a_run_what_it_made_goes(
    sides: tuple[Side, Side], towpath_sandbox: Sandbox, error: type[BaseException]
) -> None:
    aws, sandbox = sides
    made: list[str] = []

    def interrupt(text: str) -> None:
        if "removing" not in text and "removed" not in text:
            made.append(text)
            if text == f"aws: {ACROSS}":
                raise error

    with pytest.raises(error):
        comparison.compare(WITH_OTHER, aws=aws, sandbox=sandbox, say=interrupt)
    assert [line for line in made if line.endswith("-both")]
    assert leftovers(towpath_sandbox) == []


def test_removal_that_is_cut_short_in_one_account_is_done_in_the_other(
    sides: tuple[Side, Side], towpath_sandbox: Sandbox
) -> None:
    aws, _ = sides

    def interrupt(text: str) -> None:
        if "removing" in text and OTHER in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), comparison.removed_afterwards(aws, interrupt):
        Replay(side=aws).run(WITH_OTHER)
    left = leftovers(towpath_sandbox)
    assert sorted(name.rpartition("-")[2] for name in left) == ["bare", "both", "untrusted"]
    assert [line for each in aws.accounts for line in sweep(each)] == []
    assert leftovers(towpath_sandbox) == []


def test_a_sweep_goes_through_every_page(towpath_sandbox: Sandbox) -> None:
    """IAM lists a hundred at a time."""
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
    with side_of(towpath_sandbox, run="towpath-look-5") as side:
        for number in range(104):
            side.client("iam").create_role(
                RoleName=f"{NAME}many-{number}",
                AssumeRolePolicyDocument=trust,
                Tags=[{"Key": TAG, "Value": "towpath-look-5"}],
            )
        assert sweep(side) == []
        assert leftovers(towpath_sandbox) == []


def test_a_sweep_takes_only_what_carries_the_tag(towpath_sandbox: Sandbox) -> None:
    with side_of(towpath_sandbox) as side, side_of(towpath_sandbox, run="towpath-look-2") as other:
        Replay(side=side).run(FEW)
        iam = other.client("iam")
        trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
        iam.create_role(RoleName=f"{NAME}somebodys", AssumeRolePolicyDocument=trust)
        left = sweep(other)
        assert len(left) == 1
        assert f"role {NAME}somebodys: it is named as ours and has no tag" in left[0]
        assert leftovers(towpath_sandbox) == [f"{NAME}somebodys"]
        iam.delete_role(RoleName=f"{NAME}somebodys")
        side.close()
        other.close()


def test_cases_without_an_issuer_are_skipped_in_words() -> None:
    runs, skipped = comparison.possible(CASES, has={"second account", "a user's keys"})
    assert {case.name for case in CASES} - {case.name for case in runs} == {"a service account's token"}
    assert skipped == ["a service account's token: it needs web identity: give --issuer-bucket"]


def test_every_case_that_cannot_run_is_named() -> None:
    assert comparison.possible(CASES, has=NEEDS) == (CASES, [])
    for need, how in NEEDS.items():
        runs, skipped = comparison.possible(CASES, has=set(NEEDS) - {need})
        names = [case.name for case in CASES if case.needs == need]
        assert names
        assert skipped == [f"{name}: it needs {need}: {how}" for name in names]
        assert [case.name for case in CASES if case.name not in names] == [case.name for case in runs]


def test_every_refusal_stands_beside_the_same_case_allowed() -> None:
    def first_is_let_in(case: Case) -> bool:
        refused = [bool(step.code) or any(": deleted" not in key for key in step.keys) for step in case.steps]
        return (case.steps[0].code in {"NoSuchBucketPolicy", "NoSuchKey"} or not refused[0]) and any(refused[1:])

    assert [case.name for case in CASES if not first_is_let_in(case)] == []


@pytest.mark.parametrize(
    ("wanted", "says"), [("", "say which by TOWPATH_TEST_AWS"), ("999999999999", "are of account 123456789012")]
)
def test_it_runs_in_no_other_account(
    towpath_sandbox_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, wanted: str, says: str
) -> None:
    with pytest.raises(main.Refused, match=says):
        main.account_side({"TOWPATH_TEST_AWS": wanted}, region="eu-west-1", settle=0)
    with pytest.raises(main.Refused, match="root's credentials"):
        main.account_side({"TOWPATH_TEST_AWS": "123456789012"}, region="eu-west-1", settle=0)


@pytest.fixture
def two(
    towpath_sandbox: Sandbox,
    towpath_sandbox_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Generator[Side]:
    """The first account's keys in the environment, the second one's in a profile `second`."""
    with side_of(towpath_sandbox, run="towpath-look-4", other=OTHER) as side:
        assert side.other is not None
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(side.keys["AccessKeyId"]))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(side.keys["SecretAccessKey"]))
        keys = side.other.keys
        (tmp_path / "credentials").write_text(
            f"[second]\naws_access_key_id = {keys['AccessKeyId']}\naws_secret_access_key = {keys['SecretAccessKey']}\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        yield side
        for each in side.accounts:
            each.close()


GIVEN = {"TOWPATH_TEST_AWS": "123456789012", main.OTHER: OTHER, main.OTHER_PROFILE: "second"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({main.OTHER: ""}, "TOWPATH_TEST_AWS_OTHER and TOWPATH_TEST_AWS_OTHER_PROFILE together"),
        ({main.OTHER_PROFILE: ""}, "TOWPATH_TEST_AWS_OTHER and TOWPATH_TEST_AWS_OTHER_PROFILE together"),
        ({main.OTHER: "123456789012"}, "is the first account"),
        (
            {main.OTHER: "999999999999"},
            f"profile second are of account {OTHER}, TOWPATH_TEST_AWS_OTHER is 999999999999",
        ),
        ({main.OTHER_PROFILE: "absent"}, "absent"),
    ],
)
def test_the_second_account_is_exactly_the_one_named(two: Side, changed: dict[str, str], says: str) -> None:
    side = main.account_side(GIVEN, region="eu-west-1", settle=0)
    assert side.other is not None
    assert (side.account, side.other.account, side.run) == ("123456789012", OTHER, side.other.run)
    assert side.has == {"second account", "a user's keys"}
    with pytest.raises(main.Refused, match=says):
        main.account_side({**GIVEN, **changed}, region="eu-west-1", settle=0)


def test_a_whole_run_beside_a_sandbox_of_its_own(two: Side, towpath_sandbox: Sandbox) -> None:
    environment = {**os.environ, **GIVEN, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(only: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "tools.aws", "--yes", "--settle", "0", "--only", only]
        done = subprocess.run(
            command, cwd=DIRECTORY.parents[2], env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        return done.returncode, done.stdout + done.stderr

    # Refusals name the administrator, who has another name on each side.
    code, told = run("sessions STS would not")
    assert (code, "1 cases: AWS and the sandbox answered alike" in told) == (0, True), told
    code, told = run("from another account")
    assert (code, "1 cases: AWS and the sandbox answered alike" in told) == (0, True), told
    assert f"account {OTHER}: 3 roles" in told
    assert leftovers(towpath_sandbox) == []
    assert run("no such case")[0] == 2


def test_a_sweep_goes_through_both_accounts(
    two: Side, towpath_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with side_of(towpath_sandbox, other=OTHER) as side:
        Replay(side=side).run(WITH_OTHER)
        assert any(name.endswith("-both") for name in leftovers(towpath_sandbox))
        for name, value in GIVEN.items():
            monkeypatch.setenv(name, value)
        assert main.main(["--sweep"]) == 0
        assert leftovers(towpath_sandbox) == []
        for each in side.accounts:
            each.close()


def test_a_roles_session_is_no_users_keys(two: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    iam = two.client("iam")
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}]}'
    arn = iam.create_role(RoleName="towpath-look-4-role", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    keys = two.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    alone = {"TOWPATH_TEST_AWS": "123456789012"}
    assert main.account_side(alone, region="eu-west-1", settle=0).has == {"a user's keys"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    assert main.account_side(alone, region="eu-west-1", settle=0).has == set()
    iam.delete_role(RoleName="towpath-look-4-role")


def test_it_asks_before_anything_is_made(
    towpath_sandbox: Sandbox,
    towpath_sandbox_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with side_of(towpath_sandbox, run="towpath-look-3") as side:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(side.keys["AccessKeyId"]))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(side.keys["SecretAccessKey"]))
        monkeypatch.setenv("TOWPATH_TEST_AWS", "123456789012")
        monkeypatch.setattr("builtins.input", lambda _: "n")
        assert main.main(["--only", "boundary"]) == 130
        told = capsys.readouterr().err
        assert "2 buckets with 3 objects, 1 roles with inline policies, 1 managed policies as boundaries" in told
        assert main.main(["--only", "another account"]) == 2
        side.close()
    told = capsys.readouterr().err
    assert f"skipped: {ACROSS}: it needs second account: give TOWPATH_TEST_AWS_OTHER" in told
    assert leftovers(towpath_sandbox) == []


def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- {case: x, steps: []}\n- {case: x, steps: []}\n")
    with pytest.raises(ValueError, match="two cases have the name x"):
        load(tmp_path)
