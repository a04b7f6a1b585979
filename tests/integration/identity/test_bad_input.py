"""Each mistake has one clear error: what, where, what to do; exit status 2 for usage and 1 for the world; nothing half-made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Case

Towpath = Callable[..., tuple[int, str, str]]


def flags(**changed: Any) -> list[str]:
    given = {
        "eks": "sandbox",
        "region": "eu-west-1",
        "namespace": "data",
        "service-account": "hd-job-sa",
        "role": "hd-bad-input",
        **changed,
    }
    return [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]


def refused(towpath: Towpath, *words: str, status: int, says: list[str]) -> None:
    got, out, err = towpath("identity", *words)
    assert got == status, err
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert "  do: " in err
    for text in says:
        assert text in err


@pytest.mark.usefixtures("towpath_sandbox_environment")
class TestUsage:
    @pytest.mark.parametrize(
        ("changed", "says"),
        [
            ({"role": None}, ["missing --role"]),
            ({"eks": None}, ["missing --eks"]),
            ({"role": "x" * 65}, ["has 65 characters; IAM allows 64", "shorten it by 1"]),
            ({"role": "a b"}, ["holds ' '", "where: --role\n"]),
            ({"region": "europe"}, ["'europe' is not a region's code", "where: --region\n"]),
            ({"namespace": "Data"}, ["'Data' is not a Kubernetes name", "where: --namespace\n"]),
            ({"service-account": "*"}, ["'*' is not a Kubernetes name"]),
            ({"policy-arn": "arn:aws:iam::123456789012:role/x"}, ["is not a managed policy's ARN"]),
            ({"policy-arn": "policy/x"}, ["is not an ARN", "where: --policy-arn\n"]),
            ({"policy-arn": "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"}, ["lies in the partition aws-cn"]),
            (
                {"policy-file": "no-such-file.json"},
                ["cannot read the policy file", "where: --policy-file, no-such-file.json"],
            ),
            ({"max-session": "1 day"}, ["a duration is a number with s, m or h", "where: --max-session"]),
            ({"max-session": "13h"}, ["a role's sessions last 1h to 12h", "where: --max-session"]),
        ],
    )
    def test_flags(self, towpath: Towpath, changed: dict[str, Any], says: list[str]) -> None:
        refused(towpath, "apply", *flags(**changed), "--yes", status=2, says=says)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('{"Version": "2012-10-17",\n "Statement": [}', ["line 2, column 16", "not JSON"]),
            (
                '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Actoin": "s3:*", "Resource": "*"}]}',
                ["Statement[0].Actoin", "did you mean Action?"],
            ),
            (
                '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "bucket"}]}',
                ["'bucket' is not a resource"],
            ),
            ('{"Version": "2012-10-17", "Version": "2008-10-17", "Statement": []}', ["'Version' stands twice"]),
            ("[]", ["a policy is a JSON object"]),
        ],
    )
    def test_policy_files(self, towpath: Towpath, tmp_path: Path, text: str, says: list[str]) -> None:
        path = tmp_path / "policy.json"
        path.write_text(text)
        refused(towpath, "apply", *flags(**{"policy-file": path}), "--yes", status=2, says=[str(path), *says])

    def test_policy_over_its_quota(self, towpath: Towpath, tmp_path: Path) -> None:
        path = tmp_path / "large.json"
        statement = {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": [f"arn:aws:s3:::bucket/{number:050d}" for number in range(100)],
        }
        path.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        refused(
            towpath,
            "apply",
            *flags(**{"policy-file": path}),
            "--yes",
            status=2,
            says=["characters; this account allows 6144"],
        )

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (None, ["cannot read the manifest"]),
            ("cluster: {eks: a, region: eu-west-1}\nidentities: [", ["line 2", "not YAML"]),
            (
                "cluster: {eks: a, region: eu-west-1}\nidentitys: []\n",
                ["'identitys' is not known", "did you mean identities?"],
            ),
            (
                "cluster: {eks: a, region: eu-west-1}\nidentities:\n  - role: {nmae: x}\n",
                ["did you mean name?", "identities[0].role.nmae"],
            ),
            ("cluster: {eks: a}\nidentities:\n  - role: {name: x}\n", ["cluster.region", "the field is missing"]),
            (
                "cluster: {eks: a, region: eu-west-1}\nidentities:\n  - role: {name: x}\n    permissions:\n      - {arn: a, file: b}\n",
                ["a permission is one of s3, file or arn"],
            ),
            ("- a\n", ["is not an object with cluster"]),
        ],
    )
    def test_manifests(self, towpath: Towpath, tmp_path: Path, text: str | None, says: list[str]) -> None:
        path = tmp_path / "towpath.yaml"
        if text is not None:
            path.write_text(text)
        refused(towpath, "plan", "--manifest", str(path), status=2, says=[str(path), *says])

    def test_saved_chain_that_is_none(self, towpath: Towpath, tmp_path: Path) -> None:
        path = tmp_path / "chain.json"
        path.write_text('{"account": "1"}')
        refused(towpath, "doctor", "--from", str(path), status=2, says=["this is not a saved chain"])

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000])
    def test_saved_chain_that_is_no_text(self, towpath: Towpath, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "chain.json"
        path.write_bytes(content)
        refused(towpath, "doctor", "--from", str(path), status=2, says=["is not JSON as it was written", str(path)])

    def test_profile_that_is_not_there(self, towpath: Towpath, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "no-such")
        refused(towpath, "plan", *flags(), status=2, says=["there is no AWS profile no-such", "where: AWS_PROFILE"])

    def test_aws_configuration_that_is_none(
        self, towpath: Towpath, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "config"
        path.write_text("{not ini")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
        refused(towpath, "plan", *flags(), status=2, says=["the AWS configuration cannot be read as INI", str(path)])

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            ("nonsense: [", "the kubeconfig is not YAML"),
            ("apiVersion: v1\nclusters: []\n", "the kubeconfig has no contexts"),
            (b"\xff\xfe", "the kubeconfig is not UTF-8 text"),
            ("a: " + "[" * 20_000, "the kubeconfig is nested too deeply"),
        ],
    )
    def test_kubeconfig_that_is_none(self, towpath: Towpath, tmp_path: Path, content: str | bytes, says: str) -> None:
        path = tmp_path / "kubeconfig"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        words = flags(eks=None, cluster="mine")
        refused(towpath, "plan", *words, "--kubeconfig", str(path), status=1, says=[says, f"where: {path}"])

    def test_state_that_is_a_file(self, towpath: Towpath, tmp_path: Path) -> None:
        path = tmp_path / "state"
        path.touch()
        status, _, err = towpath("identity", "apply", *flags(), "--state", str(path), "--yes")
        assert status == 1
        assert err.startswith(f"error: {path} is not a directory\n  where: --state\n  do: ")

    def test_unknown_cluster(self, towpath: Towpath) -> None:
        refused(
            towpath,
            "plan",
            *flags(eks="no-such"),
            status=1,
            says=["there is no EKS cluster no-such in eu-west-1", "aws eks list-clusters"],
        )

    def test_unknown_flag_is_clicks_own_error(self, towpath: Towpath) -> None:
        status, _, err = towpath("identity", "plan", "--no-such-flag")
        assert status == 2
        assert "--no-such-flag" in err


class TestWorld:
    def test_no_credentials(self, towpath: Towpath, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOWPATH_SANDBOX_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("TOWPATH_SANDBOX_SECRET", "x")
        refused(towpath, "plan", *flags(), status=1, says=["there are no AWS credentials", "aws sso login"])

    def test_no_network(
        self, towpath: Towpath, monkeypatch: pytest.MonkeyPatch, towpath_sandbox_environment: dict[str, str]
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        refused(towpath, "plan", *flags(), status=1, says=["AWS cannot be reached", "AWS_ENDPOINT_URL"])

    def test_credentials_nobody_knows(
        self, towpath: Towpath, monkeypatch: pytest.MonkeyPatch, towpath_sandbox_environment: dict[str, str]
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAAAAAAAAAAAAAAAAA")
        refused(towpath, "plan", *flags(), status=1, says=["AWS does not accept the credentials: InvalidClientTokenId"])

    def test_no_kubeconfig(
        self,
        towpath: Towpath,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        towpath_sandbox_environment: dict[str, str],
    ) -> None:
        refused(towpath, "plan", *flags(), "--kubeconfig", str(tmp_path / "none"), status=1, says=["service account"])


# Every call a whole apply makes, and what it is missed as.
NEEDED = [
    "eks:DescribeCluster", "iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:ListOpenIDConnectProviders", "iam:GetPolicy",
    "iam:CreateOpenIDConnectProvider", "iam:CreateRole", "iam:CreatePolicy", "iam:AttachRolePolicy",
]  # fmt: skip


@pytest.mark.parametrize("missing", NEEDED)
def test_permission_we_lack_is_named(
    case: Case, towpath: Towpath, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """An operator with every permission but one: the one is named, and with it the same command works."""
    iam = case.iam()
    user = f"operator-{case.role}"
    iam.create_user(UserName=user)
    allow = {"Effect": "Allow", "Action": ["iam:*", "eks:*", "sts:*", "s3:*"], "Resource": "*"}
    deny = {"Effect": "Deny", "Action": missing, "Resource": "*"}
    iam.put_user_policy(
        UserName=user,
        PolicyName="all",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]}),
    )
    key = iam.create_access_key(UserName=user)["AccessKey"]
    with monkeypatch.context() as inner:
        inner.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        inner.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        status, _, err = towpath("identity", "apply", *case.flags(), "--yes")
        assert status == 1
        assert missing in err
        assert "Traceback" not in err
    iam.put_user_policy(
        UserName=user, PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    assert towpath("identity", "apply", *case.flags(), "--yes")[0] == 0
    assert case.plan() == ()


def test_no_is_an_answer_and_changes_nothing(case: Case, towpath: Towpath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda _question: False)
    status, _, err = towpath("identity", "apply", *case.flags())
    assert (status, err) == (1, "nothing was changed\n")
    assert case.plan() != ()
    monkeypatch.setattr("typer.confirm", lambda _question: True)
    assert towpath("identity", "apply", *case.flags())[0] == 0
    assert case.plan() == ()
