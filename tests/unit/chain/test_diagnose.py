"""diagnose on plain values: a whole chain, and in each case file one thing broken.

A case file changes the whole chain (dotted paths into its JSON; a value of null takes the part away) and says which findings must come out,
each by its code and its row in the table of failures. Nothing else may come out.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.chain.diagnose import diagnose, links
from towpath.chain.finding import LinkName, Severity
from towpath.chain.observed import Chain

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
HOST = "oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{HOST}"
ROLE = "arn:aws:iam::123456789012:role/hd-orders"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::orders-lake/*"}],
}


def whole() -> dict[str, Any]:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": PROVIDER},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {
                        f"{HOST}:sub": "system:serviceaccount:data:hd-job-sa",
                        f"{HOST}:aud": "sts.amazonaws.com",
                    }
                },
            }
        ],
    }
    return {
        "wanted": {
            "cluster": "analytics",
            "region": "eu-west-1",
            "namespace": "data",
            "service_account": "hd-job-sa",
            "role_name": "hd-orders",
            "policies": [{"name": "hd-orders-s3-policy", "document": POLICY}],
        },
        "account": "123456789012",
        "issuer": {"url": f"https://{HOST}", "source": "eks:DescribeCluster", "discovery": True, "keys": ["k1"]},
        "provider": {"arn": PROVIDER, "url": f"https://{HOST}", "client_ids": ["sts.amazonaws.com"]},
        "role": {
            "arn": ROLE,
            "name": "hd-orders",
            "path": "/",
            "max_session": 3600,
            "trust": trust,
            "attached": [
                {
                    "arn": "arn:aws:iam::123456789012:policy/hd-orders-s3-policy",
                    "name": "hd-orders-s3-policy",
                    "document": POLICY,
                }
            ],
        },
        "service_account": {
            "namespace": "data",
            "name": "hd-job-sa",
            "backend": "kubernetes",
            "annotations": {"eks.amazonaws.com/role-arn": ROLE},
        },
        "exchange": {
            "ok": True,
            "arn": "arn:aws:sts::123456789012:assumed-role/hd-orders/towpath-prove",
            "issuer": f"https://{HOST}",
            "subject": "system:serviceaccount:data:hd-job-sa",
            "audiences": ["sts.amazonaws.com"],
        },
        "access": [{"action": "s3:ListBucket", "resource": "s3://orders-lake", "ok": True}],
    }


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        place: Any = out
        for part in parents:
            place = place[part]
        text = json.dumps(value).replace("PROVIDER", PROVIDER).replace("ISSUER", HOST).replace("ROLE_ARN", ROLE)
        place[last] = json.loads(text)
    return out


def test_whole_chain_has_nine_good_links_and_no_finding() -> None:
    chain = Chain.model_validate(whole())
    assert [state.link for state in links(chain)] == list(LinkName)
    assert [state.ok for state in links(chain)] == [True] * 9
    assert diagnose(chain) == ()


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    chain = Chain.model_validate(changed(whole(), case["change"]))
    found = diagnose(chain)
    assert [(item.code, item.row) for item in found] == [(item["code"], item.get("row")) for item in case["findings"]]
    for finding, expected in zip(found, case["findings"], strict=True):
        assert str(finding.severity) == expected.get("severity", "error")
        for text in expected.get("says", []):
            assert (
                text.replace("ISSUER", HOST)
                in f"{finding.message}\n{finding.evidence}\n{finding.fix.command}\n{finding.fix.towpath}"
            )
        assert finding.fix.command
    broken = {state.link: state.ok for state in links(chain)}
    for finding in found:
        assert broken[finding.link] is (finding.severity is not Severity.ERROR)


def test_fix_of_a_trust_finding_repairs_it() -> None:
    """The command printed is run: its policy put in place of the broken one makes the link whole."""
    import shlex

    for path in CASES:
        case = yaml.safe_load(path.read_text())
        if not case["findings"] or not case["findings"][0]["code"].startswith("trust."):
            continue
        value = changed(whole(), case["change"])
        finding = diagnose(Chain.model_validate(value))[0]
        words = shlex.split(finding.fix.command)
        assert words[:3] == ["aws", "iam", "update-assume-role-policy"], path.stem
        value["role"]["trust"] = json.loads(words[-1])
        again = diagnose(Chain.model_validate(value))
        assert finding.code not in {item.code for item in again}, path.stem
        assert {state.link: state.ok for state in links(Chain.model_validate(value))}[LinkName.TRUST], path.stem


def test_chain_survives_being_saved() -> None:
    chain = Chain.model_validate(whole())
    assert Chain.model_validate_json(chain.model_dump_json()) == chain


def test_unreadable_part_is_not_taken_for_an_absent_one() -> None:
    value = changed(whole(), {"role": None, "service_account": None})
    value["unreadable"] = {
        "role": "cannot be read: not allowed to call iam:GetRole",
        "service account": "cannot be read: x",
    }
    chain = Chain.model_validate(value)
    states = {state.link: state for state in links(chain)}
    for link in (LinkName.ROLE, LinkName.TRUST, LinkName.SERVICE_ACCOUNT):
        assert states[link].ok is None
        assert "cannot be read" in states[link].evidence
    assert diagnose(chain) == ()
