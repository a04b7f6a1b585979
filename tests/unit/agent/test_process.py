"""The child's environment is made from nothing; what the launcher holds does not reach it."""

from __future__ import annotations

from pathlib import Path

from towpath.agent.launchers.process import child_environment
from towpath.job.attempt import AttemptSpec
from towpath.job.guard import check_environment
from towpath.job.pipeline import parse_pipelines

PIPELINE = parse_pipelines(
    {"pipelines": [{"name": "p", "source": {"sqlite": "x"}, "destination": {"s3": {"bucket": "lake-1"}}}]},
    source="test",
)[0]
SPEC = AttemptSpec(
    pipeline=PIPELINE,
    sync="s",
    role_arn="arn:aws:iam::123456789012:role/r",
    region="eu-west-1",
    endpoint_url="http://127.0.0.1:1",
)


def test_nothing_of_the_operators_environment_but_what_python_needs(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("token", "config", "spec", "result", "home")}
    files["config"].touch()
    operator = {
        "PATH": "/bin", "LANG": "C.UTF-8", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_PROFILE": "p", "AWS_ENDPOINT_URL": "http://127.0.0.1:2",
        "TOWPATH_SANDBOX_SECRET": "s", "TOWPATH_ISSUER_MAP": "x", "DATABASE_URL": "postgresql://u:p@h/d", "GITHUB_TOKEN": "t", "HOME": "/root",
    }  # fmt: skip
    environment = child_environment(SPEC, files, operator)
    assert set(environment) & set(operator) == {"PATH", "LANG", "HOME", "AWS_ENDPOINT_URL"}
    assert environment["HOME"] == str(files["home"])
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"  # the spec's, not the shell's
    assert check_environment(SPEC, environment) is None
