"""plan and apply against the enforcing sandbox: complete, empty the second time, never at another's cost, healed after a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from towpath.chain.diagnose import diagnose, links
from towpath.chain.finding import Severity
from towpath.errors import UsageError, WorldError
from towpath.identity.apply import apply
from towpath.identity.plan import Kind, plan
from towpath.identity.prove import prove

from .conftest import ACCOUNT, Case

EC2 = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
FOREIGN = {
    "Sid": "Somebody else's",
    "Effect": "Allow",
    "Principal": {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]},
    "Action": ["sts:AssumeRole"],
    "Condition": {"StringEquals": {"sts:ExternalId": ["a", "b"]}, "Bool": {"aws:MultiFactorAuthPresent": "true"}},
}


def make(case: Case, *, remove_bootstrap_trust: bool = False, **more: Any) -> None:
    chain = case.observed(**more)
    apply(plan(chain, remove_bootstrap_trust=remove_bootstrap_trust), chain, case.world(), case.record(chain))


def test_from_nothing_to_a_proved_chain(case: Case) -> None:
    assert [change.kind for change in case.plan()] == [
        Kind.CREATE_PROVIDER,
        Kind.CREATE_POLICY,
        Kind.CREATE_ROLE,
        Kind.ATTACH_POLICY,
        Kind.ANNOTATE,
    ]
    make(case)
    assert case.plan() == ()
    chain = prove(case.observed(), case.world())
    assert [state.ok for state in links(chain)] == [True] * 9
    assert diagnose(chain) == ()
    assert chain.exchange is not None
    assert chain.exchange.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/{case.role}/towpath-prove"


def test_second_apply_changes_nothing(case: Case) -> None:
    make(case)
    before = len(case.sandbox.record.as_json())
    make(case)
    made = [call["action"] for call in case.sandbox.record.as_json()[before:]]
    assert made
    assert not [action for action in made if not action.split(":")[1].startswith(("Get", "List", "Describe"))]


def test_both_claims_are_always_conditioned(case: Case) -> None:
    make(case)
    (statement,) = case.trust()["Statement"]
    host = case.issuer.removeprefix("https://")
    assert statement["Condition"] == {
        "StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": "system:serviceaccount:data:hd-job-sa"}
    }
    assert statement["Sid"].startswith("Towpath")


@pytest.mark.parametrize(
    "before",
    [[EC2, FOREIGN], [FOREIGN], FOREIGN, EC2],
    ids=["list of two", "list of one", "single object", "single bootstrap"],
)
def test_other_statements_stay_equal_as_json_and_in_order(case: Case, before: Any) -> None:
    case.iam().create_role(
        RoleName=case.role,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Id": "kept", "Statement": before}),
    )
    make(case)
    after = case.trust()
    foreign = before if isinstance(before, list) else [before]
    assert after["Statement"][: len(foreign)] == foreign
    assert len(after["Statement"]) == len(foreign) + 1
    assert after["Id"] == "kept"
    assert case.plan() == ()


def test_bootstrap_trust_goes_only_on_request_and_comes_alone(case: Case) -> None:
    case.iam().create_role(
        RoleName=case.role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [EC2, FOREIGN]})
    )
    make(case)
    warnings = [finding.code for finding in diagnose(prove(case.observed(), case.world()))]
    assert warnings == ["trust.bootstrap"]
    make(case, remove_bootstrap_trust=True)
    assert next(item.get("Sid") for item in case.trust()["Statement"]) == FOREIGN["Sid"]
    assert EC2 not in case.trust()["Statement"]
    assert diagnose(prove(case.observed(), case.world())) == ()


class Crash(BaseException):
    """As if the process had been killed: nothing of ours catches it."""


def writes(case: Case) -> list[str]:
    """Names of the changing calls of one whole apply, in their order of starting."""
    seen: list[str] = []
    world = case.world()
    world.aws.before_write = seen.append
    chain = case.observed()
    apply(plan(chain), chain, world, case.record(chain))
    return seen


@pytest.mark.parametrize("stop_at", range(6))
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_call_the_next_apply_heals(case: Case, stop_at: int, when: str) -> None:
    case.iam().create_role(
        RoleName=case.role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [EC2]})
    )
    world = case.world()
    count = 0

    def die(_operation: str) -> None:
        nonlocal count
        count += 1
        # "after": the call before this one has been answered, and nothing after it was begun.
        if count > stop_at + (when == "after"):
            raise Crash

    world.aws.before_write = die
    chain = case.observed()
    changes = plan(chain)
    try:
        apply(changes, chain, world, case.record(chain))
        whole = True
    except Crash:
        whole = False
    assert whole == (stop_at + (when == "after") >= len(changes))
    make(case)
    assert case.plan() == ()
    assert case.trust()["Statement"][0] == EC2
    healed = prove(case.observed(), case.world())
    assert not [finding for finding in diagnose(healed) if finding.severity is Severity.ERROR]
    attached = case.iam().list_attached_role_policies(RoleName=case.role)["AttachedPolicies"]
    # What was attached is ours to detach again, whatever the crash left in the record.
    assert {policy for role, policy in case.record(healed).attached if role == case.role} == {
        item["PolicyArn"] for item in attached
    }


def test_policy_made_by_hand_is_adopted_not_doubled(case: Case) -> None:
    iam = case.iam()
    iam.create_role(
        RoleName=case.role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [EC2]})
    )
    arn = iam.create_policy(PolicyName=f"by-hand-{case.role}", PolicyDocument=case.policy_file.read_text())["Policy"][
        "Arn"
    ]
    iam.attach_role_policy(RoleName=case.role, PolicyArn=arn)
    make(case)
    assert [item["PolicyArn"] for item in iam.list_attached_role_policies(RoleName=case.role)["AttachedPolicies"]] == [
        arn
    ]


def test_changed_document_becomes_a_new_version(case: Case) -> None:
    make(case)
    document = json.loads(case.policy_file.read_text())
    for number in range(7):  # more than the five versions IAM keeps
        document["Statement"][0]["Sid"] = f"Version{number}"
        case.policy_file.write_text(json.dumps(document))
        (change,) = case.plan()
        assert change.kind is Kind.UPDATE_POLICY
        make(case)
        assert case.plan() == ()
    held = case.observed().policies[0]
    assert held.document == document


def test_policy_of_our_name_that_is_not_ours_is_not_overwritten(case: Case) -> None:
    other = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    case.iam().create_policy(PolicyName=f"{case.role}-s3-policy", PolicyDocument=json.dumps(other))
    with pytest.raises(UsageError, match="towpath did not make it"):
        case.plan()


def test_trust_policy_edited_while_we_ran_is_not_lost(case: Case) -> None:
    iam = case.iam()
    iam.create_role(
        RoleName=case.role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [EC2]})
    )
    chain = case.observed()
    iam.update_assume_role_policy(
        RoleName=case.role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [EC2, FOREIGN]})
    )
    with pytest.raises(WorldError, match="was edited while this ran"):
        apply(plan(chain), chain, case.world(), case.record(chain))
    assert case.trust()["Statement"] == [EC2, FOREIGN]
    make(case)
    assert case.trust()["Statement"][:2] == [EC2, FOREIGN]


def test_provider_without_our_audience_gets_it(case: Case) -> None:
    case.iam().create_open_id_connect_provider(Url=case.issuer, ClientIDList=["somebody"])
    assert Kind.ADD_CLIENT_ID in {change.kind for change in case.plan()}
    make(case)
    provider = case.observed().provider
    assert provider is not None
    assert set(provider.client_ids) == {"somebody", "sts.amazonaws.com"}


def test_trust_policy_over_the_quota_is_refused_before_any_call(case: Case) -> None:
    long = {**FOREIGN, "Condition": {"StringEquals": {"sts:ExternalId": ["x" * 100 for _ in range(14)]}}}
    case.iam().create_role(
        RoleName=case.role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [long]})
    )
    with pytest.raises(UsageError, match=r"would have \d+ characters; this account allows 2048"):
        case.plan()
    assert case.trust()["Statement"] == [long]


def test_record_is_private_and_holds_no_secret(case: Case) -> None:
    make(case)
    (path,) = (case.directory / "state").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert case.sandbox.admin_key.secret not in path.read_text()
    assert case.sandbox.secret not in path.read_text()


def test_cli_apply_twice_prints_an_empty_plan(case: Case, towpath: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = towpath("identity", "apply", *case.flags(), "--yes", "--json")
    assert status == 0
    assert len(json.loads(out)) == 5
    assert towpath("identity", "apply", *case.flags(), "--yes", "--json")[:2] == (0, "[]\n")
    assert towpath("identity", "plan", *case.flags(), "--json")[:2] == (0, "[]\n")
    status, out, _ = towpath("identity", "plan", *case.flags())
    assert status == 0
    assert "nothing to do" in out


def test_cli_apply_without_yes_where_nobody_can_be_asked(
    case: Case, towpath: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, err = towpath("identity", "apply", *case.flags())
    assert status == 2
    assert "--yes" in err
    assert case.observed().role is None


def test_manifest_says_the_same_as_flags(
    case: Case, towpath: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    manifest = tmp_path / "towpath.yaml"
    manifest.write_text(
        f"cluster: {{eks: {case.cluster}, region: eu-west-1}}\nnamespace: data\nidentities:\n"
        f"  - serviceAccount: hd-job-sa\n    role: {{name: {case.role}}}\n    permissions:\n      - file: s3-policy.json\n"
    )
    assert towpath("identity", "apply", *case.flags(), "--yes")[0] == 0
    assert towpath("identity", "plan", "--manifest", str(manifest), "--json")[:2] == (0, "[]\n")
