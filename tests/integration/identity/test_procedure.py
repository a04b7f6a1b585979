"""The hand-made procedure, typed as it stands with the aws CLI; then doctor on the result, and the job under it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent

# The six commands and create-open-id-connect-provider; ACCOUNT and ISSUER are what the page tells its reader to fill in.
SCRIPT = """
set -euo pipefail
aws s3api create-bucket --bucket orders-lake --create-bucket-configuration LocationConstraint=eu-west-1 >/dev/null
ACCOUNT=$(aws sts get-caller-identity --query Account --output text)
aws iam create-policy --policy-name s3-access --policy-document file://s3-policy.json >/dev/null
aws iam create-role --role-name hd-orders --assume-role-policy-document file://trust-policy.json >/dev/null
aws iam attach-role-policy --role-name hd-orders --policy-arn arn:aws:iam::$ACCOUNT:policy/s3-access
ISSUER=$(aws eks describe-cluster --name sandbox --region eu-west-1 --query "cluster.identity.oidc.issuer" --output text)
aws iam list-open-id-connect-providers >/dev/null
aws iam create-open-id-connect-provider --url $ISSUER --client-id-list sts.amazonaws.com >/dev/null
sed "s#ACCOUNT#$ACCOUNT#g; s#ISSUER#${ISSUER#https://}#g" irsa.template > trust-policy-irsa.json
aws iam update-assume-role-policy --role-name hd-orders --policy-document file://trust-policy-irsa.json
towpath sandbox annotate data/hd-job-sa eks.amazonaws.com/role-arn=arn:aws:iam::$ACCOUNT:role/hd-orders
set +e
IDENTITY="--eks sandbox --region eu-west-1 --namespace data --service-account hd-job-sa --role hd-orders --policy-file s3-policy.json"
towpath identity doctor $IDENTITY --json > doctor.json; echo $? > doctor.status
towpath identity plan $IDENTITY --json > plan.json
towpath sandbox token --service-account data/hd-job-sa > token
env -i PATH="$PATH" AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL python job.py > job.json
"""
JOB = """
import json, os, sys
from pathlib import Path
from towpath.agent.launchers.process import Token, run_attempt
from towpath.demo import flights
from towpath.job.attempt import AttemptSpec
from towpath.job.pipeline import parse_pipelines
import sqlite3
with sqlite3.connect("small.sqlite") as db:
    db.execute("CREATE TABLE orders (id INTEGER, name TEXT)")
    db.executemany("INSERT INTO orders VALUES (?, ?)", [(n, f"order {n}") for n in range(1000)])
pipeline = parse_pipelines({"pipelines": [{"name": "orders", "source": {"sqlite": "small.sqlite"}, "destination": {"s3": {"bucket": "orders-lake"}}}]}, source="test")[0]
spec = AttemptSpec(pipeline=pipeline, sync="s", role_arn="arn:aws:iam::123456789012:role/hd-orders", region="eu-west-1", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
print(run_attempt(spec, token=lambda: Token(text=Path("token").read_text().strip(), lifetime=3600)).model_dump_json())
"""
IRSA = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Federated": "arn:aws:iam::ACCOUNT:oidc-provider/ISSUER"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {"ISSUER:sub": "system:serviceaccount:data:hd-job-sa"}},
        }
    ],
}
EC2 = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ACTIONS = "DeleteObjectTagging ReplicateObject PutObject GetObjectAcl GetObject DeleteObjectVersion ListBucket PutObjectTagging DeleteObject PutObjectAcl"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory after the whole script has run in a sandbox of its own."""
    directory = tmp_path_factory.mktemp("procedure")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [f"s3:{a}" for a in ACTIONS.split()],
                "Resource": ["arn:aws:s3:::orders-lake", "arn:aws:s3:::orders-lake/*"],
            }
        ],
    }
    for name, value in (("s3-policy.json", policy), ("trust-policy.json", EC2), ("irsa.template", IRSA)):
        (directory / name).write_text(json.dumps(value))
    (directory / "job.py").write_text(JOB)
    (directory / "procedure.sh").write_text(SCRIPT)
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [str(BIN / "towpath"), "sandbox", "run", "--", "bash", "procedure.sh"]
    ran = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return directory


def test_doctor_finds_every_link_whole_and_warns_of_the_audience(done: Path) -> None:
    (report,) = json.loads((done / "doctor.json").read_text())
    assert [(link["link"], link["ok"]) for link in report["links"] if link["ok"] is not True] == []
    assert len(report["links"]) == 9
    (finding,) = report["findings"]
    assert (finding["code"], finding["severity"]) == ("trust.no-audience", "warning")
    assert "update-assume-role-policy --role-name hd-orders" in finding["fix"]["command"]
    assert "sts.amazonaws.com" in finding["fix"]["command"]
    assert (done / "doctor.status").read_text().strip() == "0"


def test_plan_adopts_what_was_made_by_hand_and_only_adds_our_statement(done: Path) -> None:
    changes: list[dict[str, Any]] = json.loads((done / "plan.json").read_text())
    (change,) = changes
    assert change["kind"] == "update trust policy"
    before, after = change["before"]["Statement"], change["after"]["Statement"]
    assert after[: len(before)] == before
    assert after[-1]["Sid"].startswith("Towpath")


def test_job_runs_under_the_hand_made_role(done: Path) -> None:
    result = json.loads((done / "job.json").read_text())
    assert (result["status"], result["rows"]) == ("succeeded", 1000)
    assert result["role"].startswith("arn:aws:sts::123456789012:assumed-role/hd-orders/")
