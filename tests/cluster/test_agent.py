"""The agent on a real cluster: each way an attempt can go wrong, produced for real and told in words."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.agent.work import Phase
from towpath.errors import MissingPermissionError

from .agents import SMALL, SUCCEED, Harness, Onlooker, shell, syncs
from .conftest import TestCluster
from .test_identity import restricted

PROMPT = 2.0  # seconds between the API's showing it and our saying it


@pytest.fixture
def agents(cluster: TestCluster, namespace: str) -> Iterator[Harness]:
    harness = Harness(cluster=cluster, namespace=namespace)
    harness.prepare()
    yield harness
    harness.stop()


def test_success_is_told_and_cleaned_up(agents: Harness) -> None:
    agents.start(syncs("one", "two"), shell(f"sleep 0.2; {SUCCEED}"))
    agents.finish()
    assert {history.last for history in agents.histories.values()} == {"succeeded"}
    assert agents.jobs() == []
    ended = [report for _, report in agents.reports if report.state.phase is Phase.SUCCEEDED]
    assert [report.state.result.rows for report in ended if report.state.result] == [5, 5]


def test_the_pod_is_told_exactly_what_was_written(agents: Harness) -> None:
    """Dollars, quotes and all: the pod's variable as the process sees it."""
    from towpath.agent.work import Sync
    from towpath.job.attempt import AttemptSpec
    from towpath.job.pipeline import parse_pipelines

    source = {"sqlite": {"path": "/x/$(AWS_ROLE_ARN)$$HOME '\" ü \\n", "tables": ["$$$(A)"]}}
    value = {"pipelines": [{"name": "x", "source": source, "destination": {"s3": {"bucket": "orders-lake"}}}]}
    (pipeline,) = parse_pipelines(value, source="test")
    agents.start([Sync.of(pipeline)], shell('echo "$TOWPATH_ATTEMPT"; exit 3'))
    said = agents.trouble("crash").state.what
    assert AttemptSpec.model_validate_json(said[said.index("{") :]).pipeline == pipeline


def test_a_finished_sync_is_not_launched_again(agents: Harness) -> None:
    agents.start(syncs("one"), shell(SUCCEED))
    agents.finish()
    before = len(agents.reports)
    agents.start(syncs("one"), shell(SUCCEED))
    agents.finish()
    assert len(agents.reports) == before
    agents.start(syncs("one", run="again"), shell(SUCCEED))
    agents.finish()
    assert agents.reports[-1][1].state.phase is Phase.SUCCEEDED


def test_unschedulable(agents: Harness) -> None:
    agents.start(syncs("one"), {**shell(SUCCEED), "nodeSelector": {"pool": "none"}, "startDeadline": 4})
    trouble = agents.trouble("unschedulable", 3)
    assert trouble.state.phase is Phase.PENDING
    assert "node label pool=none" in trouble.state.what
    assert "didn't match Pod's node affinity/selector" in trouble.state.what
    agents.finish()
    last = agents.reports[-1][1].state
    assert last.phase is Phase.FAILED
    assert "no container ran within 4 s" in last.what
    assert agents.jobs() == []


def test_unschedulable_for_want_of_room(agents: Harness) -> None:
    resources = {"cpu": "900", "memory": "16Mi"}
    agents.start(syncs("one"), {**shell(SUCCEED), "resources": resources})
    state = agents.trouble("unschedulable", 5).state
    assert "cpu 900" in state.what
    assert "Insufficient cpu" in state.what


@pytest.mark.parametrize("policy", ["Never", "IfNotPresent"])
def test_an_image_that_is_not_there(agents: Harness, policy: str) -> None:
    image = "towpath.invalid/nothing:1"
    agents.start(syncs("one"), {**shell(SUCCEED), "image": image, "imagePullPolicy": policy})
    state = agents.trouble("image").state
    assert image in state.what
    assert state.todo


def test_quota(agents: Harness) -> None:
    agents.cluster.kubectl("create", "quota", "none", "--hard=pods=0", "-n", agents.namespace)
    time.sleep(1)
    agents.start(syncs("one"), shell(SUCCEED))
    state = agents.trouble("quota", 10).state
    assert "exceeded quota: none" in state.what
    agents.cluster.kubectl("delete", "quota", "none", "-n", agents.namespace)


def test_quota_of_jobs(agents: Harness) -> None:
    agents.cluster.kubectl("create", "quota", "none", "--hard=count/jobs.batch=0", "-n", agents.namespace)
    time.sleep(1)
    agents.start(syncs("one"), shell(SUCCEED))
    assert "exceeded quota" in agents.trouble("quota", 10).state.what


def test_no_service_account(agents: Harness) -> None:
    agents.start(syncs("one", identity="nobody"), shell(SUCCEED))
    agents.finish()
    state = agents.reports[-1][1].state
    assert (state.phase, state.code) == (Phase.FAILED, "service-account")
    assert "no service account nobody" in state.what


def test_a_service_account_without_a_role(agents: Harness) -> None:
    agents.cluster.kubectl("create", "serviceaccount", "bare", "-n", agents.namespace)
    agents.start(syncs("one", identity="bare"), shell(SUCCEED))
    agents.finish()
    assert "names no role" in agents.reports[-1][1].state.what


def test_a_service_account_that_goes_before_the_pod(agents: Harness) -> None:
    """The role was read a moment ago, and is remembered; the pod then cannot be made."""
    steps: list[str] = []

    def on_step(step: str) -> None:
        if step == "claimed" and "gone" not in steps and any(report.state.phase.ended for _, report in agents.reports):
            steps.append("gone")
            agents.cluster.kubectl("delete", "serviceaccount", "hd-job-sa", "-n", agents.namespace)

    agents.start(syncs("one", "two"), shell(SUCCEED), capacity=1, on_step=on_step)
    state = agents.trouble("service-account", 15).state
    assert "no service account hd-job-sa" in state.what


def test_the_token_cannot_be_mounted(agents: Harness) -> None:
    """An admission policy that refuses TokenRequests in this namespace: the kubelet gets no token."""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": agents.namespace},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": agents.namespace}},
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["serviceaccounts/token"],
                    }
                ],
            },
            "validations": [{"expression": "false", "message": "no tokens here"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": agents.namespace},
        "spec": {"policyName": agents.namespace, "validationActions": ["Deny"]},
    }
    both = json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})
    agents.cluster.kubectl("apply", "-f", "-", stdin=both)
    try:
        time.sleep(2)
        agents.start(syncs("one"), shell(SUCCEED))
        state = agents.trouble("token").state
        assert "no tokens here" in state.what
    finally:
        agents.cluster.kubectl("delete", "-f", "-", "--wait=false", stdin=both)


def test_a_volume_that_is_not_there(agents: Harness) -> None:
    more = {
        "volumes": [{"name": "x", "secret": {"secretName": "absent"}}],
        "volumeMounts": [{"name": "x", "mountPath": "/x"}],
    }
    agents.start(syncs("one"), {**shell(SUCCEED), **more})
    assert 'secret "absent" not found' in agents.trouble("volume").state.what


def test_a_secret_that_is_not_there(agents: Harness) -> None:
    from towpath.agent.work import Sync
    from towpath.job.pipeline import parse_pipelines

    source = {"sql": {"url": {"secret": "orders-db", "key": "url"}}}
    value = {"pipelines": [{"name": "one", "source": source, "destination": {"s3": {"bucket": "orders-lake"}}}]}
    agents.start([Sync.of(each) for each in parse_pipelines(value, source="test")], shell(SUCCEED))
    assert 'secret "orders-db" not found' in agents.trouble("configuration").state.what


def test_a_command_that_is_not_there(agents: Harness) -> None:
    agents.start(syncs("one"), {"command": ["/no/such/program"]})
    state = agents.trouble("configuration").state
    assert "/no/such/program" in state.what


def test_out_of_memory_with_the_limit(agents: Harness) -> None:
    with Onlooker(agents.cluster, agents.namespace) as onlooker:
        agents.start(syncs("one"), shell("sleep 0.3; tail /dev/zero"))
        moment, report = agents.wait_for(lambda report: report.state.code == "oom")
    assert "memory limit of 32Mi" in report.state.what
    assert "memoryLimit" in report.state.todo
    assert moment - onlooker.first(lambda pod: "OOMKilled" in json.dumps(pod)) < PROMPT


def test_deadline(agents: Harness) -> None:
    agents.start(syncs("one"), {**shell("trap 'exit 1' TERM; sleep 60 & wait"), "deadline": 3})
    state = agents.trouble("deadline", 30).state
    assert state.phase is Phase.FAILED
    assert "deadline of 3 s" in state.what


def test_crash_with_the_last_lines_of_the_log(agents: Harness) -> None:
    agents.start(syncs("one"), shell("echo first; echo about to fall; exit 3"))
    state = agents.trouble("crash").state
    assert "ended with status 3" in state.what
    assert "about to fall" in state.what


def test_a_signal_is_named(agents: Harness) -> None:
    agents.start(syncs("one"), shell("exit 139"))
    assert "signal 11" in agents.trouble("crash").state.what


def test_no_result_is_no_success(agents: Harness) -> None:
    agents.start(syncs("one"), shell("exit 0"))
    agents.finish()
    assert (agents.reports[-1][1].state.phase, agents.reports[-1][1].state.code) == (Phase.FAILED, "no-result")


def test_a_failure_is_tried_again_and_told_so(agents: Harness) -> None:
    agents.start(syncs("one"), shell("exit 3"), retries=2)
    agents.finish()
    failed = [report for _, report in agents.reports if report.state.phase is Phase.FAILED]
    assert [report.attempt for report in failed] == [1, 2, 3]
    assert [report.again_in is None for report in failed] == [False, False, True]


def test_a_guards_refusal_is_not_tried_again(agents: Harness) -> None:
    refusal = {
        "status": "failed",
        "sync": "s",
        "attempt": 1,
        "error": {"code": "guard.identity", "what": "this job runs as x"},
    }
    agents.start(syncs("one"), shell(f"printf '{json.dumps(refusal)}' > /dev/termination-log; exit 1"), retries=5)
    agents.finish()
    assert [report.attempt for _, report in agents.reports if report.state.phase is Phase.FAILED] == [1]
    assert agents.reports[-1][1].state.code == "guard.identity"


def test_a_job_the_api_does_not_take(agents: Harness) -> None:
    agents.start(syncs("one"), {**shell(SUCCEED), "resources": {"memory": "lots"}})
    agents.finish()
    state = agents.reports[-1][1].state
    assert (state.phase, state.code) == (Phase.FAILED, "invalid")
    assert state.what


def test_names_and_labels_of_the_greatest_length(agents: Harness) -> None:
    name = "n" * 63
    more = {
        "labels": {f"{'p' * 240}.example/{'k' * 63}": "v" * 63, "team": ""},
        "annotations": {"example.com/words": "“hostile” $(HOME) \n: {}[]&*!|>'\"%@` ü 🚢" * 50},
    }
    agents.start(syncs(name), {**shell(SUCCEED), **more})
    agents.finish()
    assert agents.reports[-1][1].state.phase is Phase.SUCCEEDED


def test_annotations_beyond_what_the_api_takes(agents: Harness) -> None:
    agents.start(syncs("one"), {**shell(SUCCEED), "annotations": {"example.com/words": "x" * 300_000}})
    agents.finish()
    assert agents.reports[-1][1].state.code == "invalid"
    assert "annotations" in agents.reports[-1][1].state.what


def test_the_ledger_forgets_the_oldest_that_nobody_asks_for(agents: Harness) -> None:
    entry = {"attempts": 1, "open": False, "last": "succeeded"}
    data = {f"old-{number:04d}": json.dumps({**entry, "at": f"2026-01-01T00:{number:04d}"}) for number in range(1_005)}
    data["under-way"] = json.dumps({**entry, "open": True, "at": "2025"})
    metadata = {"name": "towpath-agent-test", "namespace": agents.namespace}
    ledger = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    agents.cluster.kubectl("create", "-f", "-", stdin=json.dumps(ledger))
    agents.start(syncs("one"), shell(SUCCEED))
    agents.finish()
    left = agents.cluster.json("get", "configmap", "towpath-agent-test", "-n", agents.namespace)["data"]
    assert len(left) == 1_001
    assert "under-way" in left
    assert "old-0005" not in left
    assert "old-0006" in left


@pytest.mark.parametrize("name", ["", "Data", "a" * 41, "a b", "-a", "é", "a/b"])
def test_an_agents_name_that_is_none(agents: Harness, tmp_path: Path, name: str) -> None:
    words = command(agents, tmp_path, shell(SUCCEED), "--name", name)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is not an agent's name" in done.stderr


@pytest.mark.parametrize("how", ["deleted", "evicted"])
def test_a_disruption_costs_no_retry(agents: Harness, how: str) -> None:
    with Onlooker(agents.cluster, agents.namespace) as onlooker:
        disrupt(agents, onlooker, how)


def disrupt(agents: Harness, onlooker: Onlooker, how: str) -> None:
    agents.start(syncs("one"), shell(f"trap 'exit 143' TERM; sleep 4 & wait; {SUCCEED}"), retries=0)
    agents.running()
    pod = agents.pod()
    if how == "deleted":
        agents.cluster.kubectl("delete", "pod", pod, "-n", agents.namespace, "--wait=false")
    else:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": agents.namespace},
        }
        path = f"/api/v1/namespaces/{agents.namespace}/pods/{pod}/eviction"
        agents.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    moment, report = agents.wait_for(lambda report: report.state.phase is Phase.DISRUPTED)
    assert report.state.code == how
    assert report.again_in == 0.0
    agents.finish()
    assert agents.reports[-1][1].state.phase is Phase.SUCCEEDED
    assert agents.reports[-1][1].attempt == 2
    ended = onlooker.first(
        lambda found: found["metadata"]["name"] == pod and "terminated" in json.dumps(found.get("status", {}))
    )
    assert moment - ended < PROMPT


def test_a_job_deleted_by_somebody_else(agents: Harness) -> None:
    agents.start(syncs("one"), shell(f"sleep 2; {SUCCEED}"))
    agents.running()
    agents.cluster.kubectl("delete", "-n", agents.namespace, agents.jobs()[0], "--cascade=orphan")
    report = agents.trouble("job-gone")
    assert report.state.phase is Phase.DISRUPTED
    agents.finish()
    assert agents.reports[-1][1].state.phase is Phase.SUCCEEDED


def test_the_next_agent_adopts_what_runs(agents: Harness) -> None:
    agents.start(syncs("one"), shell(f"sleep 3; {SUCCEED}"))
    agents.running()
    agents.stop(leave=True)
    assert len(agents.jobs()) == 1
    agents.start(syncs("one"), shell(SUCCEED))
    agents.finish()
    assert agents.reports[-1][1].state.phase is Phase.SUCCEEDED
    assert {report.attempt for _, report in agents.reports} == {1}
    assert agents.jobs() == []


def test_stopping_takes_everything_away(agents: Harness) -> None:
    agents.start(syncs("one", "two"), shell("sleep 60"))
    agents.wait_for(lambda _: sum(r.state.phase is Phase.RUNNING for _, r in agents.reports) == 2)
    agents.stop(leave=False)
    assert agents.jobs() == []
    assert {history.last for history in agents.histories.values()} == {"stopped"}
    agents.start(syncs("one", "two"), shell(SUCCEED))
    agents.finish()
    assert {history.last for history in agents.histories.values()} == {"succeeded"}


def test_jobs_outlive_agents_and_go_with_their_owner(agents: Harness) -> None:
    agents.start(syncs("one"), shell("sleep 60"))
    agents.running()
    (owner,) = agents.cluster.json("get", agents.jobs()[0], "-n", agents.namespace)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("ConfigMap", "towpath-agent-test")


RULES: list[dict[str, Any]] = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]},
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["towpath-agent-test"],
        "verbs": ["get", "patch"],
    },
]


def as_agent(agents: Harness, rules: list[dict[str, Any]], tmp_path: Path) -> Harness:
    """An agent that may do exactly this; the ledger is there, as the chart makes it."""
    agents.cluster.kubectl("create", "configmap", "towpath-agent-test", "-n", agents.namespace)
    kubeconfig = restricted(agents.cluster, agents.namespace, rules, tmp_path)
    other = TestCluster(**{**vars(agents.cluster), "kubeconfig": kubeconfig})
    return Harness(cluster=other, namespace=agents.namespace)


def test_the_least_rbac_is_enough(agents: Harness, tmp_path: Path) -> None:
    limited = as_agent(agents, RULES, tmp_path)
    limited.start(syncs("one", "two"), shell("echo about to fall; exit 3"), retries=1)
    limited.finish()
    assert "about to fall" in limited.reports[-1][1].state.what


MISSING = [
    (rule["resources"][0], verb)
    for rule in RULES
    for verb in rule["verbs"]
    if (rule["resources"][0], verb) != ("pods/log", "get")
]


@pytest.mark.parametrize(("resource", "verb"), [pair for pair in MISSING if pair != ("jobs", "get")])
def test_the_one_missing_verb_is_named(agents: Harness, tmp_path: Path, resource: str, verb: str) -> None:
    rules = [
        {**rule, "verbs": [each for each in rule["verbs"] if (rule["resources"][0], each) != (resource, verb)]}
        for rule in RULES
    ]
    limited = as_agent(agents, [rule for rule in rules if rule["verbs"]], tmp_path)
    with pytest.raises(MissingPermissionError) as caught:
        limited.start(syncs("one"), shell(SUCCEED))
        limited.finish()
    assert caught.value.action == f"{verb} {resource}"
    limited.stop()


def command(agents: Harness, tmp_path: Path, settings: dict[str, Any], *more: str) -> list[str]:
    """`towpath agent run` as a process."""
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**SMALL, **settings}))
    pipelines = [{"name": "one", "source": {"sqlite": "/x"}, "destination": {"s3": {"bucket": "orders-lake"}}}]
    (tmp_path / "syncs.yaml").write_text(yaml.safe_dump({"pipelines": pipelines}))
    words = [str(Path(sys.executable).with_name("towpath")), "agent", "run", "--from", str(tmp_path / "syncs.yaml")]
    words += ["--settings", str(tmp_path / "settings.yaml"), "--kubeconfig", str(agents.cluster.kubeconfig)]
    return [*words, "-n", agents.namespace, *more]


def test_the_command(agents: Harness, tmp_path: Path) -> None:
    done = subprocess.run(
        command(agents, tmp_path, shell(SUCCEED), "--json"), capture_output=True, text=True, check=True
    )
    phases = [json.loads(line)["phase"] for line in done.stdout.splitlines()]
    assert phases[0] == "pending"
    assert phases[-1] == "succeeded"
    failing = command(agents, tmp_path, shell("exit 3"), "--run", "2", "--retries", "0")
    failed = subprocess.run(failing, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "ended with status 3" in failed.stdout
    assert "1 syncs: 1 failed" in failed.stdout


@pytest.mark.parametrize(("number", "status", "left"), [(signal.SIGINT, 130, 0), (signal.SIGTERM, 0, 1)])
def test_signals(agents: Harness, tmp_path: Path, number: int, status: int, left: int) -> None:
    with subprocess.Popen(
        command(agents, tmp_path, shell("sleep 60"), "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["phase"] == "running":
                break
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status, errors
    assert errors == ""
    assert len(agents.jobs()) == left


def test_node_lost(agents: Harness) -> None:
    own = agents.cluster.own
    if own is None:
        pytest.skip("stops the node's kubelet, which is done only to the cluster of `make cluster`")
    agents.start(syncs("one"), {**shell("sleep 40"), "unreachableSeconds": 1})
    agents.running()
    try:
        own.stop_kubelet()
        report = agents.trouble("node-lost", 60)
        assert "stopped answering" in report.state.what
        # With its only node gone Kubernetes takes its own network for broken and taints nothing; this is the taint it would set.
        agents.cluster.kubectl("taint", "node", "node1", "node.kubernetes.io/unreachable:NoExecute", "--overwrite")
        disrupted = agents.wait_for(lambda report: report.state.phase is Phase.DISRUPTED, 60)[1]
        assert disrupted.state.code == "node-lost"
    finally:
        agents.cluster.kubectl("taint", "node", "node1", "node.kubernetes.io/unreachable:NoExecute-")
        own.resume_kubelet()
    agents.wait_for(lambda report: report.attempt == 2 and report.state.phase is Phase.RUNNING, 60)


@pytest.mark.long
def test_api_server_down_for_half_a_minute(agents: Harness) -> None:
    own = agents.cluster.own
    if own is None:
        pytest.skip("stops the API server, which is done only to the cluster of `make cluster`")
    names = [f"s{number}" for number in range(6)]
    agents.start(syncs(*names), shell(f"sleep 15; {SUCCEED}"), capacity=4)
    agents.wait_for(lambda _: sum(r.state.phase is Phase.RUNNING for _, r in agents.reports) >= 4)
    try:
        own.stop_apiserver()
        time.sleep(30)
    finally:
        own.resume_apiserver()
    agents.finish(120)
    assert {history.last for history in agents.histories.values()} == {"succeeded"}
    assert all(history.attempts == 1 for history in agents.histories.values())
    assert agents.jobs() == []
