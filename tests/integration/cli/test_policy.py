"""`towpath policy` as a process: what it says of a file, and the status it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from towpath.oidc.issuer import SigningIssuer

TOWPATH = str(Path(sys.executable).parent / "towpath")
ISSUER = "https://oidc.eks.eu-west-1.amazonaws.com/id/" + "A" * 32
HOST = ISSUER.removeprefix("https://")


def policy(
    *arguments: str, text: str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOWPATH, "policy", *arguments],
        input=text,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **item} for item in statements]})


GOOD = document({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/*"})
WARNED = document({"NotAction": "iam:*", "Resource": "arn:aws:s3:::lake/*"})
BAD = document({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake"})


@pytest.mark.parametrize(
    ("text", "arguments", "status", "says"),
    [
        (GOOD, (), 0, "identity policy, 114 of 6144 characters"),
        (WARNED, (), 0, "allow-not-action"),
        (WARNED, ("--strict",), 1, "allow-not-action"),
        (BAD, (), 1, "add arn:aws:s3:::lake/* to Resource"),
        ("{", (), 1, "line 1, column 2"),
        (document({"Action": "s3:GetObject"}), (), 1, "Statement[0]"),
        (GOOD, ("--kind", "trust"), 1, "neither Principal nor NotPrincipal"),
        (GOOD, ("--kind", "scp"), 0, "scp policy"),
        (GOOD, ("--kind", "bucket"), 2, "is no kind of policy"),
    ],
)
def test_check(text: str, arguments: tuple[str, ...], status: int, says: str) -> None:
    done = policy("check", "-", *arguments, text=text)
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_check_of_several_files_as_json(tmp_path: Path) -> None:
    trust = json.loads(
        document(
            {
                "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{HOST}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
            }
        )
    )
    bucket = json.loads(document({"Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/*"}))
    for name, value in (("trust", trust), ("bucket", bucket), ("good", json.loads(GOOD))):
        (tmp_path / name).write_text(json.dumps(value))
    done = policy("check", "--json", *(str(tmp_path / name) for name in ("trust", "bucket", "good")))
    assert done.returncode == 1
    found = {Path(item["file"]).name: item for item in json.loads(done.stdout)}
    assert {name: item["kind"] for name, item in found.items()} == {
        "trust": "trust",
        "bucket": "resource",
        "good": "identity",
    }
    assert [item["rule"] for item in found["trust"]["findings"]] == ["trust-without-subject", "trust-without-audience"]
    assert [(item["rule"], item["path"]) for item in found["bucket"]["findings"]] == [
        ("public-principal", "Statement[0].Principal")
    ]
    assert found["good"]["findings"] == []
    assert policy("check", str(tmp_path / "absent")).returncode == 2


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    found = {
        "identity": document({"Sid": "Objects", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::lake/*"}),
        "reading": document({"Action": "s3:GetObject", "Resource": "*"}),
        "private": document({"Effect": "Deny", "Sid": "Private", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
    }  # fmt: skip
    for name, text in found.items():
        (tmp_path / f"{name}.json").write_text(text)
    return {name: str(tmp_path / f"{name}.json") for name in found}


ROLE = "arn:aws:iam::123456789012:role/etl"
PUT = ("--action", "s3:PutObject", "--resource", "arn:aws:s3:::lake/a", "--principal", ROLE)


def test_explain_allowed_and_denied_by_each_kind(files: dict[str, str]) -> None:
    good = policy("explain", "--policy", files["identity"], *PUT)
    assert (good.returncode, good.stdout.splitlines()[0]) == (0, "✓ allowed")
    assert "✓ Sid Objects allows" in good.stdout
    for option in ("--boundary", "--session", "--scp"):
        done = policy("explain", "--policy", files["identity"], option, files["reading"], *PUT)
        assert (done.returncode, done.stdout.splitlines()[0]) == (1, "✗ denied"), option
    http = policy(
        "explain",
        "--policy",
        files["identity"],
        "--resource-policy",
        files["private"],
        *PUT,
        "--context",
        "aws:SecureTransport=false",
    )
    assert (http.returncode, http.stdout.splitlines()[0]) == (1, "✗ denied explicitly")
    assert "✓ Sid Private denies" in http.stdout
    https = policy("explain", "--policy", files["identity"], "--resource-policy", files["private"], *PUT)
    assert https.returncode == 0


def test_explain_as_json_names_what_did_not_match(files: dict[str, str]) -> None:
    done = policy(
        "explain",
        "--json",
        "--policy",
        files["identity"],
        "--action",
        "s3:DeleteObject",
        "--resource",
        "arn:aws:s3:::lake/a",
    )
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["outcome"], found["allowed"]) == ("implicitDeny", False)
    assert [(item["element"], item["matched"]) for item in found["statements"][0]["elements"]] == [
        ("Action", False),
        ("Resource", True),
    ]
    assert "s3:PutObject" in found["reason"]


def test_explain_a_token_at_a_roles_door(tmp_path: Path) -> None:
    condition = {f"{HOST}:sub": "system:serviceaccount:data:job", f"{HOST}:aud": "sts.amazonaws.com"}
    trust = tmp_path / "trust.json"
    trust.write_text(
        document(
            {
                "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{HOST}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": condition},
            }
        )
    )
    issuer = SigningIssuer(ISSUER)
    for namespace, status in (("data", 0), ("other", 1)):
        token = issuer.issue(
            namespace=namespace,
            service_account="job",
            audiences=["sts.amazonaws.com"],
            expires_in=60,
            uid="u",
            now=1_000.0,
        )
        file = tmp_path / "token"
        file.write_text(token)
        for more in ((), ("--json",)):
            done = policy("explain", "--trust", str(trust), "--token", str(file), *more)
            assert done.returncode == status, done.stdout + done.stderr
            assert f"system:serviceaccount:{namespace}:job" in done.stdout
            assert not [part for part in token.split(".") if part in done.stdout + done.stderr]
    assert "expired" in policy("explain", "--trust", str(trust), "--token", str(file)).stdout


def test_explain_a_principal_at_a_roles_door(tmp_path: Path) -> None:
    trust = tmp_path / "trust.json"
    trust.write_text(document({"Principal": {"AWS": ROLE}, "Action": "sts:AssumeRole"}))
    assert policy("explain", "--trust", str(trust), "--principal", ROLE).returncode == 0
    assert policy("explain", "--trust", str(trust), "--principal", ROLE + "2").returncode == 1
    assert "about a token or a principal" in policy("explain", "--trust", str(trust)).stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("explain",), "no action is asked about"),
        (("explain", "--action", "s3:*"), "is not an action"),
        (("explain", "--action", "s3:GetObject", "--resource", "lake"), "is not a resource"),
        (("explain", "--action", "s3:GetObject", "--principal", "me"), "is no principal"),
        (("explain", "--action", "s3:GetObject", "--context", "x"), "is not KEY=VALUE"),
        (("explain", "--action", "s3:GetObject", "--policy", "/nowhere"), "cannot read it"),
        (("explain", "--token", "x"), "give --trust FILE too"),
        (("presets", "nothing"), "is no preset"),
        (("presets", "s3"), "needs --bucket"),
        (("learn",), "no principal is named"),
        (("learn", "--principal", "r"), "no sandbox is named"),
        (("learn", "--principal", "r", "--from", "/nowhere"), "cannot read it"),
        (("learn", "--verify"), "nothing to run"),
        (("learn", "--principal", "r", "--", "true"), "add --verify"),
        (("learn", "--principal", "r", "--generalise", "all"), "is no way to generalise"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], says: str) -> None:
    done = policy(*arguments)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_presets_are_listed_and_printed() -> None:
    listed = policy("presets")
    assert all(name in listed.stdout for name in ("s3", "glue", "athena", "secret", "kms", "rds"))
    made = policy(
        "presets", "secret", "--account", "123456789012", "--secret", "orders", env={"AWS_REGION": "cn-north-1"}
    )
    assert (
        json.loads(made.stdout)["Statement"][0]["Resource"]
        == "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:orders-??????"
    )
    assert policy("check", "-", "--strict", text=made.stdout).returncode == 0


def test_help_is_quick_and_loads_no_sdk() -> None:
    script = "import sys\nfrom towpath.cli.main import app\nprint([m for m in ('boto3', 'botocore', 'moto', 'rich.live') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
