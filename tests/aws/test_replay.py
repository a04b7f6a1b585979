"""The harness with the sandbox standing in for AWS: every case answers as expected and alike, a difference is told, and nothing is left."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tools.aws import __main__ as main
from tools.aws import comparison
from tools.aws.cases import Case, load
from tools.aws.replay import Replay
from tools.aws.sandboxed import side_of
from tools.aws.side import NAME, Answer, Side
from tools.aws.sweep import sweep

from towpath.sandbox.main import Sandbox

CASES = load()
OTHER = "111122223333"
FEW = [case for case in CASES if case.name in {"a boundary limits", "an explicit deny is named"}]


@pytest.fixture
def sides(towpath_sandbox: Sandbox) -> Generator[tuple[Side, Side]]:
    with ExitStack() as stack:
        yield (
            stack.enter_context(side_of(towpath_sandbox, name="aws", other=OTHER)),
            stack.enter_context(side_of(towpath_sandbox, other=OTHER)),
        )


def leftovers(sandbox: Sandbox) -> list[str]:
    """What anybody's run would sweep, found by the account's root."""
    with side_of(sandbox, run="towpath-look-1") as side:
        iam, s3 = side.client("iam"), side.client("s3")
        try:
            return [
                *(item["RoleName"] for item in iam.list_roles()["Roles"] if item["RoleName"].startswith(NAME)),
                *(item["UserName"] for item in iam.list_users()["Users"] if item["UserName"].startswith(NAME)),
                *(
                    item["PolicyName"]
                    for item in iam.list_policies(Scope="Local")["Policies"]
                    if item["PolicyName"].startswith(NAME)
                ),
                *(item["Name"] for item in s3.list_buckets()["Buckets"] if item["Name"].startswith(NAME)),
            ]
        finally:
            side.close()


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


class Other(Side):
    """AWS as it would be if it said one thing in other words."""

    def answer(self, call):  # type: ignore[no-untyped-def]
        found = super().answer(call)
        if "boundary" in found.message:
            return Answer(code=found.code, message=found.message.replace("boundary", "limit"), status=found.status)
        return found


def test_two_sandboxes_do_not_differ(sides: tuple[Side, Side]) -> None:
    aws, sandbox = sides
    assert comparison.compare(FEW, aws=aws, sandbox=sandbox) == []


def test_one_altered_answer_is_one_difference(towpath_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    with side_of(towpath_sandbox) as real, side_of(towpath_sandbox) as sandbox:
        aws = Other(
            **{name: getattr(real, name) for name in ("account", "region", "run", "keys", "endpoint", "partition")},
            name="aws",
        )
        found = comparison.compare(FEW, aws=aws, sandbox=sandbox)
    assert [(item.case, item.step, item.what) for item in found] == [
        ("a boundary limits", "s3.get_object as bounded", "message")
    ]
    main.report(found, cases=len(FEW))
    told = capsys.readouterr().out
    assert "1 answers differ in 2 cases" in told
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
            if "an explicit deny" in text:
                raise error

    with pytest.raises(error):
        comparison.compare(FEW, aws=aws, sandbox=sandbox, say=interrupt)
    assert [line for line in made if "making role" in line]
    assert not [name for name in leftovers(towpath_sandbox) if name.startswith(aws.run)]


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
    runs, skipped = comparison.possible(CASES, issuer=False)
    assert {case.name for case in CASES} - {case.name for case in runs} == {"a service account's token"}
    assert skipped == ["a service account's token: it needs web identity, give --issuer-bucket"]
    assert comparison.possible(CASES, issuer=True)[1] == []


def test_every_refusal_stands_beside_the_same_case_allowed() -> None:
    def first_is_let_in(case: Case) -> bool:
        return case.steps[0].code in {"", "NoSuchBucketPolicy", "NoSuchKey"} and any(
            step.code for step in case.steps[1:]
        )

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
        side.close()
    told = capsys.readouterr().err
    assert "1 bucket with 2 objects, 1 roles with inline policies, 1 managed policies as boundaries" in told
    assert leftovers(towpath_sandbox) == []


def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- {case: x, steps: []}\n- {case: x, steps: []}\n")
    with pytest.raises(ValueError, match="two cases have the name x"):
        load(tmp_path)
