"""The gate's own memory, told to a journal and true again after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from towpath.iam.decide import NamedPolicy
from towpath.iam.policy import PolicyKind, parse_policy
from towpath.sandbox import facts
from towpath.sandbox.clusters import Clusters
from towpath.sandbox.journal import Journal
from towpath.sandbox.principals import Key, Keys, Principal, root_key

NOW = datetime(2025, 11, 25, 8, tzinfo=UTC)
DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a/${aws:username}/*"}],
}
PRINCIPAL = Principal(
    arn="arn:aws:sts::123456789012:assumed-role/r/s",
    account="123456789012",
    user_id="AROAEXAMPLE:s",
    role="r",
    role_id="AROAEXAMPLE",
    role_arn="arn:aws:iam::123456789012:role/r",
    session_name="s",
    session_policies=(
        NamedPolicy(name="session policy", document=parse_policy(DOCUMENT, kind=PolicyKind.IDENTITY, name="p")),
    ),
    tags={"team": "ä"},
    transitive=("team",),
    source_identity="me",
    context={"aws:FederatedProvider": "x", "list": ["a", "b"], "when": NOW, "flag": True, "none": None},
)


class Memory:
    def __init__(self, path: Path) -> None:
        self.keys, self.clusters = Keys(), Clusters()
        self.journal = Journal(path, {})
        self.journal.replay(
            {
                facts.KEY: facts.follow_keys(self.keys, self.journal),
                **facts.follow_clusters(self.clusters, self.journal),
            }
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    found = Memory(path)
    yield found
    found.journal.close()


def again(path: Path) -> Memory:
    found = Memory(path)
    found.journal.close()
    return found


def test_session_is_the_same_afterwards(memory: Memory, path: Path) -> None:
    key = memory.keys.issue_session(PRINCIPAL, now=NOW, expires_at=NOW + timedelta(hours=1))
    found = again(path).keys.find(key.access_key)
    assert found == key
    assert found is not None
    policies = found.principal.session_policies
    assert policies is not None
    assert policies[0].document.source == DOCUMENT


def test_principal_that_allows_nothing_is_not_one_without_limit(memory: Memory, path: Path) -> None:
    """() and None of session policies are opposites."""
    for number, policies in enumerate(((), None)):
        principal = Principal(arn="a", account="1", user_id="u", user=str(number), session_policies=policies)
        memory.keys.add(Key(access_key=f"K{number}", secret="s", principal=principal))
    keys = again(path).keys
    found = [keys.find(f"K{number}") for number in range(2)]
    assert [key and key.principal.session_policies for key in found] == [(), None]


def test_changes_of_keys_are_kept(memory: Memory, path: Path) -> None:
    user = Principal(arn="a", account="1", user_id="u", user="u")
    for name in ("GONE", "INACTIVE", "ACTIVE", "RENAMED"):
        memory.keys.add(Key(access_key=name, secret="s", principal=user))
    memory.keys.remove("GONE")
    memory.keys.set_active("INACTIVE", active=False)
    assert again(path).keys.find("ACTIVE") is not None
    memory.keys.rename_user("1", "u", "v")
    keys = again(path).keys
    assert [keys.find(name) is None for name in ("GONE", "INACTIVE", "ACTIVE")] == [True, True, False]
    renamed = keys.find("RENAMED")
    assert renamed is not None
    assert renamed.principal.user == "v"
    memory.keys.remove_user("1", "v")
    assert again(path).keys.find("ACTIVE") is None


def test_clusters_keep_their_issuer_and_their_service_accounts(memory: Memory, path: Path) -> None:
    place = {"account": "1", "region": "eu-west-1", "name": "c"}
    cluster = memory.clusters.add(**place)
    cluster.merge("data", "sa", annotations={"a": "b", "c": "d"}, labels={"l": "m"})
    cluster.merge("data", "sa", annotations={"c": None}, labels={})
    cluster.merge("data", "gone", annotations={}, labels={})
    cluster.delete("data", "gone")
    token, _ = cluster.token("data", "sa", audiences=None, expires_in=60)
    assert token
    found = again(path).clusters.find(**place)
    assert found is not None
    assert found.issuer_url == cluster.issuer_url
    assert found.issuer.jwks() == cluster.issuer.jwks()
    assert [each.as_kubernetes() for each in found.all("data")] == [
        each.as_kubernetes() for each in cluster.all("data")
    ]
    memory.clusters.remove(**place)
    assert again(path).clusters.find(**place) is None


def test_rewritten_without_sessions_that_ended(memory: Memory, path: Path) -> None:
    ended = memory.keys.issue_session(PRINCIPAL, now=NOW, expires_at=NOW + timedelta(minutes=15))
    alive = memory.keys.issue_session(PRINCIPAL, now=NOW, expires_at=NOW + timedelta(hours=2))
    root = memory.keys.add(root_key("123456789012", "aws"))
    memory.journal.rewrite(facts.still_counts(NOW + timedelta(hours=1)))
    keys = again(path).keys
    assert [keys.find(key.access_key) is not None for key in (ended, alive, root)] == [False, True, True]
    memory.journal.rewrite(facts.administrator_only("123456789012"))
    keys = again(path).keys
    assert [keys.find(key.access_key) is not None for key in (alive, root)] == [False, True]
