"""destroy: only what towpath made or attached, and only what nobody else uses."""

from __future__ import annotations

import json
from typing import Any

from towpath.chain.observed import Chain
from towpath.identity.apply import apply
from towpath.identity.destroy import plan_destroy, roles_trusting
from towpath.identity.plan import Kind, plan

from .conftest import ACCOUNT, Case
from .test_apply import EC2, FOREIGN, make


def undo(case: Case, **more: Any) -> tuple[str, ...]:
    chain: Chain = case.observed(**more)
    record = case.record(chain)
    trusted_by = roles_trusting(case.world().aws, chain.provider_arn) if chain.provider else ()
    changes, kept = plan_destroy(chain, record, trusted_by=trusted_by)
    apply(changes, chain, case.world(), record)
    return kept


def test_everything_of_ours_goes(case: Case) -> None:
    make(case)
    assert undo(case) == ()
    chain = case.observed()
    assert (chain.role, chain.provider, chain.policies, chain.service_account) == (None, None, (), None)
    assert plan_destroy(chain, case.record(chain), trusted_by=()) == ((), ())


def test_adopted_role_keeps_its_statements_and_its_policies(case: Case) -> None:
    iam = case.iam()
    before = {"Version": "2012-10-17", "Statement": [EC2, FOREIGN]}
    iam.create_role(RoleName=case.role, AssumeRolePolicyDocument=json.dumps(before))
    iam.attach_role_policy(RoleName=case.role, PolicyArn="arn:aws:iam::aws:policy/AmazonAthenaFullAccess")
    make(case, policy_arns=["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"])
    kept = undo(case, policy_arns=["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"])
    assert case.trust() == before
    # The one towpath attached is gone, the one that was there is not.
    assert [item["PolicyName"] for item in iam.list_attached_role_policies(RoleName=case.role)["AttachedPolicies"]] == [
        "AmazonAthenaFullAccess"
    ]
    assert any("towpath did not make it" in sentence for sentence in kept)


def test_removed_bootstrap_statement_is_given_back(case: Case) -> None:
    before = {"Version": "2012-10-17", "Statement": [EC2]}
    case.iam().create_role(RoleName=case.role, AssumeRolePolicyDocument=json.dumps(before))
    make(case, remove_bootstrap_trust=True)
    assert EC2 not in case.trust()["Statement"]
    undo(case)
    assert case.trust()["Statement"] == [EC2]


def test_provider_stays_while_another_role_trusts_it(case: Case) -> None:
    make(case)
    other = f"other-{case.role}"
    trust = {**case.trust(), "Statement": [{**case.trust()["Statement"][0], "Sid": "Theirs"}]}
    case.iam().create_role(RoleName=other, AssumeRolePolicyDocument=json.dumps(trust))
    kept = undo(case)
    assert any(other in sentence for sentence in kept)
    assert case.observed().provider is not None
    case.iam().delete_role(RoleName=other)


def test_provider_that_was_there_before_stays(case: Case) -> None:
    case.iam().create_open_id_connect_provider(Url=case.issuer, ClientIDList=["sts.amazonaws.com"])
    make(case)
    undo(case)
    assert case.observed().provider is not None


def test_policy_attached_elsewhere_stays(case: Case) -> None:
    make(case)
    other = f"user-of-{case.role}"
    case.iam().create_role(
        RoleName=other, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [EC2]})
    )
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{case.role}-s3-policy"
    case.iam().attach_role_policy(RoleName=other, PolicyArn=arn)
    kept = undo(case)
    assert any("attached in 1 other place" in sentence for sentence in kept)
    assert case.iam().get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1


def test_role_of_ours_that_somebody_built_on_stays(case: Case) -> None:
    make(case)
    case.iam().attach_role_policy(RoleName=case.role, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    trust = case.trust()
    case.iam().update_assume_role_policy(
        RoleName=case.role, PolicyDocument=json.dumps({**trust, "Statement": [*trust["Statement"], FOREIGN]})
    )
    kept = undo(case)
    assert case.trust()["Statement"] == [FOREIGN]
    assert any("others use it" in sentence for sentence in kept)


def test_service_account_that_was_there_before_loses_only_the_annotation(case: Case) -> None:
    cluster = case.sandbox.clusters.named(case.cluster)
    assert cluster is not None
    cluster.merge("data", "hd-job-sa", annotations={"meta.helm.sh/release-name": "hd"}, labels={"app": "hd"})
    make(case)
    assert undo(case)
    found = cluster.find("data", "hd-job-sa")
    assert found is not None
    assert (found.annotations, found.labels) == ({"meta.helm.sh/release-name": "hd"}, {"app": "hd"})


def test_two_service_accounts_share_a_role(case: Case) -> None:
    """Each has its own statement; the one that leaves takes only its own."""
    make(case)
    from towpath.identity.manifest import from_flags
    from towpath.identity.observe import observe
    from towpath.identity.world import open_world

    second = from_flags(
        eks=case.cluster,
        issuer=None,
        cluster=None,
        region="eu-west-1",
        namespace="data",
        service_account="second",
        role=case.role,
    )
    world = open_world(second)
    chain = observe(second, world)
    assert [change.kind for change in plan(chain)] == [Kind.UPDATE_TRUST, Kind.ANNOTATE]
    apply(plan(chain), chain, world, case.record(chain))
    assert len(case.trust()["Statement"]) == 2
    undo(case)
    (left,) = case.trust()["Statement"]
    assert left["Sid"] == second.sid
