"""The guard's refusals: one variable, one file or one claim differs from an environment that is accepted."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from towpath.job.attempt import AttemptSpec
from towpath.job.guard import check_environment, check_token, same_role
from towpath.job.pipeline import parse_pipelines

ROLE = "arn:aws:iam::123456789012:role/data/hd-orders"
PIPELINE = parse_pipelines(
    {"pipelines": [{"name": "p", "source": {"sqlite": "x"}, "destination": {"s3": {"bucket": "lake-1"}}}]},
    source="test",
)[0]


def spec(**more: Any) -> AttemptSpec:
    return AttemptSpec(pipeline=PIPELINE, sync="s", role_arn=ROLE, region="eu-west-1", **more)


def token(**claims: Any) -> str:
    payload = {
        "aud": ["sts.amazonaws.com"],
        "sub": "system:serviceaccount:data:hd-job-sa",
        "exp": time.time() + 600,
        **claims,
    }
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731
    return f"{part({'alg': 'RS256'})}.{part(payload)}.c2ln"


@pytest.fixture
def good(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config").touch()
    (tmp_path / "token").write_text(token())
    return {
        "PATH": "/usr/bin",
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_REGION": "eu-west-1",
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "config"),
    }


SECRET = "wJalrXUtnFEMI/K7MDENG/EXAMPLEKEY"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("AWS_ACCESS_KEY_ID", "guard.static-key"),
        ("AWS_SECRET_ACCESS_KEY", "guard.static-key"),
        ("AWS_SESSION_TOKEN", "guard.static-key"),
        ("AWS_PROFILE", "guard.environment"),
        ("AWS_DEFAULT_PROFILE", "guard.environment"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "guard.environment"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "guard.environment"),
        ("AWS_ENDPOINT_URL", "guard.environment"),
        ("AWS_ENDPOINT_URL_STS", "guard.environment"),
        ("AWS_CA_BUNDLE", "guard.environment"),
        ("AWS_ROLE_SESSION_NAME", "guard.environment"),
        ("AWS_SOMETHING_NEW", "guard.environment"),
        ("BOTO_CONFIG", "guard.environment"),
        ("TOWPATH_SANDBOX_SECRET", "guard.environment"),
        ("TOWPATH_SANDBOX_URL", "guard.environment"),
    ],
)
def test_variable_that_should_not_be_there_is_named_and_its_value_is_not(
    good: dict[str, str], name: str, code: str
) -> None:
    assert check_environment(spec(), good) is None
    finding = check_environment(spec(), {**good, name: SECRET})
    assert finding is not None
    assert finding.code == code
    assert name in finding.message
    assert SECRET not in finding.model_dump_json()


def test_every_required_variable_is_required(good: dict[str, str]) -> None:
    assert check_environment(spec(), good) is None
    for name in [name for name in good if name.startswith("AWS_")]:
        for environ in ({k: v for k, v in good.items() if k != name}, {**good, name: ""}):
            finding = check_environment(spec(), environ)
            assert finding is not None
            assert (finding.code, name in finding.message) == ("guard.missing", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ROLE_ARN", ROLE + "x"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "legacy"),
        ("AWS_EC2_METADATA_DISABLED", "false"),
    ],
)
def test_required_variable_that_says_something_else(good: dict[str, str], name: str, value: str) -> None:
    assert check_environment(spec(), good) is None
    finding = check_environment(spec(), {**good, name: value})
    assert finding is not None
    assert finding.code == "guard.value"


def test_operators_endpoint_is_accepted_only_as_the_operator_set_it(good: dict[str, str]) -> None:
    environ = {**good, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    assert check_environment(spec(endpoint_url="http://127.0.0.1:1"), environ) is None
    finding = check_environment(spec(endpoint_url="http://127.0.0.1:2"), environ)
    assert finding is not None
    assert finding.code == "guard.endpoint"


def test_profile_in_a_configuration_file(good: dict[str, str], tmp_path: Path) -> None:
    assert check_environment(spec(), good) is None
    (tmp_path / "config").write_text("[default]\n")
    finding = check_environment(spec(), good)
    assert finding is not None
    assert finding.code == "guard.profile"


@pytest.mark.parametrize(
    ("content", "code", "row"),
    [
        (None, "guard.token-file", 26),
        ("", "guard.token-format", 12),
        ("garbage", "guard.token-format", 12),
        (token(aud="https://kubernetes.default.svc"), "guard.token-audience", 6),
        (token(aud=[]), "guard.token-audience", 6),
        (token(exp=1), "guard.token-expired", 13),
    ],
)
def test_token_that_could_not_be_exchanged(
    good: dict[str, str], tmp_path: Path, content: str | None, code: str, row: int
) -> None:
    assert check_token(spec(), good) is None
    path = tmp_path / "token"
    path.unlink() if content is None else path.write_text(content)
    finding = check_token(spec(), good)
    assert finding is not None
    assert (finding.code, finding.row) == (code, row)


@pytest.mark.parametrize(
    ("session", "same"),
    [
        ("arn:aws:sts::123456789012:assumed-role/hd-orders/botocore-session-1", True),
        ("arn:aws:sts::123456789012:assumed-role/hd-orders2/s", False),
        ("arn:aws:sts::999999999999:assumed-role/hd-orders/s", False),
        ("arn:aws-cn:sts::123456789012:assumed-role/hd-orders/s", False),
        ("arn:aws:iam::123456789012:role/data/hd-orders", False),
        ("arn:aws:iam::123456789012:user/hd-orders", False),
        ("arn:aws:sts::123456789012:assumed-role/data/hd-orders/s", False),
        ("nonsense", False),
    ],
)
def test_caller_is_compared_by_account_and_role_name(session: str, same: bool) -> None:
    assert same_role(session, ROLE) is same
