"""Merging and removing statements, names, sizes and presets."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towpath.errors import UsageError
from towpath.iam import arn as arns
from towpath.iam import build, partition, presets, quota
from towpath.iam.policy import PolicyKind, parse_policy

HOST = "oidc.eks.eu-west-1.amazonaws.com/id/A"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{HOST}"
SID = build.statement_sid(cluster="c", namespace="n", service_account="s")
OURS = build.web_identity_statement(
    sid=SID,
    provider_arn=PROVIDER,
    issuer=f"https://{HOST}",
    subjects=["system:serviceaccount:n:s"],
    audience="sts.amazonaws.com",
)

FOREIGN = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Principal": st.sampled_from(
            ["*", {"AWS": "123456789012"}, {"AWS": ["123456789012"]}, {"Service": "ec2.amazonaws.com"}]
        ),
        "Action": st.sampled_from(["sts:AssumeRole", ["sts:AssumeRole"], ["sts:AssumeRole", "sts:TagSession"]]),
    },
    optional={
        "Sid": st.sampled_from(["A", "B", "Towpath", ""]),
        "Condition": st.sampled_from([{}, {"Bool": {"a": True}}, {"StringEquals": {"k": ["x"]}}]),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"Statement": st.lists(FOREIGN, min_size=1, max_size=4) | FOREIGN},
    optional={"Version": st.sampled_from(["2012-10-17", "2008-10-17"]), "Id": st.text(max_size=3)},
)


@given(DOCUMENTS)
def test_merge_then_remove_gives_the_original_back(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    merged = build.merge_statement(document, OURS)
    assert document == before
    foreign = build.statements_of(document)
    assert build.statements_of(merged) == [*foreign, OURS]
    assert {k: v for k, v in merged.items() if k != "Statement"} == {
        k: v for k, v in document.items() if k != "Statement"
    }
    assert build.merge_statement(merged, OURS) == merged
    removed = build.remove_statement(merged, SID)
    assert removed is not None
    assert build.statements_of(removed) == foreign
    assert parse_policy(merged, kind=PolicyKind.TRUST) if not _doubled(foreign) and not _allows_not(foreign) else True


def _doubled(statements: list[Any]) -> bool:
    sids = [item["Sid"] for item in statements if item.get("Sid")]
    return len(sids) != len(set(sids))


def _allows_not(statements: list[Any]) -> bool:
    return any("NotPrincipal" in item for item in statements)


def test_ours_is_replaced_in_its_place() -> None:
    first, last = (
        {"Sid": "A", "Effect": "Deny", "Principal": "*", "Action": "sts:*"},
        {"Sid": "Z", "Effect": "Deny", "Principal": "*", "Action": "sts:*"},
    )
    document = {"Version": "2012-10-17", "Statement": [first, {**OURS, "Condition": {}}, last]}
    assert build.merge_statement(document, OURS)["Statement"] == [first, OURS, last]


def test_nothing_left_is_none() -> None:
    assert build.remove_statement(build.merge_statement(None, OURS), SID) is None


def test_sid_tells_identities_apart_and_is_what_iam_takes() -> None:
    sids = {
        build.statement_sid(cluster=c, namespace=n, service_account=s)
        for c, n, s in [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "d")]
    }
    assert len(sids) == 4
    assert all(sid.isalnum() and sid.startswith("Towpath") and len(sid) == 23 for sid in sids)


def test_wildcard_is_asked_for_by_name_and_moves_sub_alone() -> None:
    arguments: dict[str, Any] = {
        "sid": "S",
        "provider_arn": PROVIDER,
        "issuer": HOST,
        "subjects": ["system:serviceaccount:n:*"],
        "audience": "sts.amazonaws.com",
    }
    with pytest.raises(UsageError, match="holds a wildcard"):
        build.web_identity_statement(**arguments)
    condition = build.web_identity_statement(**arguments, wildcard=True)["Condition"]
    assert condition == {
        "StringEquals": {f"{HOST}:aud": "sts.amazonaws.com"},
        "StringLike": {f"{HOST}:sub": "system:serviceaccount:n:*"},
    }
    with pytest.raises(UsageError, match="every service account"):
        build.web_identity_statement(**{**arguments, "subjects": []})


@pytest.mark.parametrize(
    ("statement", "is_one"),
    [
        ({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}, True),
        (
            {
                "Sid": "x",
                "Effect": "Allow",
                "Principal": {"Service": ["ec2.amazonaws.com.cn"]},
                "Action": ["sts:AssumeRole"],
            },
            True,
        ),
        ({"Effect": "Deny", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}, False),
        ({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}, False),
        (
            {
                "Effect": "Allow",
                "Principal": {"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]},
                "Action": "sts:AssumeRole",
            },
            False,
        ),
        (
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com", "AWS": "*"}, "Action": "sts:AssumeRole"},
            False,
        ),
        (
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {},
            },
            False,
        ),
        ({"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}, False),
    ],
)
def test_bootstrap_statement_is_exactly_that(statement: dict[str, Any], is_one: bool) -> None:
    assert build.is_bootstrap_statement(statement) is is_one


def test_size_ignores_white_space_and_counts_characters() -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Sid": "ü"}]}
    assert quota.size(document) == len('{"Version":"2012-10-17","Statement":[{"Sid":"ü"}]}')
    assert quota.size(json.loads(json.dumps(document, indent=8))) == quota.size(document)


def test_quotas_are_the_accounts_own() -> None:
    quotas = quota.Quotas.from_account_summary({"AssumeRolePolicySizeQuota": 4096, "Users": 3})
    assert (quotas.assume_role_policy_size, quotas.policy_size) == (4096, 6144)
    long = build.policy([{"Sid": "x" * 3000}])
    quota.check_trust_policy(long, quotas, role="r")
    with pytest.raises(UsageError, match="this account allows 2048"):
        quota.check_trust_policy(long, quota.Quotas(), role="r")
    with pytest.raises(UsageError, match="would have 11 managed policies"):
        quota.check_attachments(11, quotas, role="r")


@pytest.mark.parametrize(
    ("region", "name", "suffix"),
    [
        ("eu-west-1", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
        ("us-east-1", "aws", "amazonaws.com"),
    ],
)
def test_partitions(region: str, name: str, suffix: str) -> None:
    found = partition.of_region(region)
    assert (found.name, found.dns_suffix, found.sts_audience) == (name, suffix, "sts.amazonaws.com")
    assert partition.by_name(name) is found


@given(
    st.sampled_from(["aws", "aws-cn"]),
    st.from_regex(r"[0-9]{12}", fullmatch=True),
    st.from_regex(r"(/[a-z]{1,5}){0,3}/", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9+=,.@_-]{1,64}", fullmatch=True),
)
def test_arn_of_a_role_comes_back(partition_name: str, account: str, path: str, name: str) -> None:
    arn = arns.role_arn(partition=partition_name, account=account, name=name, path=path)
    again = arns.Arn.parse(str(arn))
    assert again == arn
    assert (again.resource_type, again.resource_name, again.resource_path) == ("role", name, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "arn",
        "arn:aws:iam::123456789012",
        "arn:aws:iam::12345:role/x",
        "arn:aws::::",
        "urn:aws:iam::123456789012:role/x",
        "arn:AWS:iam::123456789012:role/x",
        " arn:aws:iam::123456789012:role/x",
        "arn:aws:iam::123456789012:role/x\n",
    ],
)
def test_text_that_is_no_arn(text: str) -> None:
    assert arns.Arn.parse("arn:aws:iam::123456789012:role/x")
    with pytest.raises(arns.ArnError):
        arns.Arn.parse(text)


@pytest.mark.parametrize("access", ["read", "write", "read-write"])
def test_preset_is_a_policy_and_holds_no_more_than_asked(access: str) -> None:
    statements = presets.s3_statements(partition="aws-cn", bucket="lake", prefix="raw/", access=access)
    document = parse_policy(build.policy(statements), kind=PolicyKind.IDENTITY)
    actions = {action for statement in document.statements for action in statement.actions or ()}
    assert "arn:aws-cn:s3:::lake/raw/*" in json.dumps(document.source)
    assert "arn:aws:" not in json.dumps(document.source)
    assert ("s3:GetObject" in actions) == ("read" in access.split("-"))
    assert ("s3:PutObject" in actions) == ("write" in access.split("-"))
    with pytest.raises(UsageError, match="'all' is no access"):
        presets.s3_statements(partition="aws", bucket="lake", access="all")
