"""Jobs from attempts, beside YAML files a person can read. UPDATE_GOLDEN=1 writes them anew; look at the difference."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.agent.kubernetes.cluster import ROLE_ARN as ROLE
from towpath.agent.kubernetes.cluster import identity_of
from towpath.agent.kubernetes.job import job_manifest
from towpath.agent.kubernetes.names import job_name, label_value
from towpath.agent.kubernetes.settings import parse_settings
from towpath.agent.work import Attempt, Sync
from towpath.errors import UsageError
from towpath.job.attempt import AttemptSpec
from towpath.job.pipeline import parse_pipelines

CASES = sorted((Path(__file__).parent / "jobs").glob("*.yaml"))
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "towpath-agent-default", "uid": "11111111-2222"}


def manifest(case: dict[str, Any]) -> dict[str, Any]:
    (pipeline,) = parse_pipelines({"pipelines": [case["pipeline"]]}, source="case")
    sync = Sync(id=case.get("sync", f"{pipeline.name}-00000000"), pipeline=pipeline)
    identity = identity_of({ROLE: "arn:aws:iam::123456789012:role/hd-orders", **case.get("annotations", {})})
    assert identity is not None
    attempt = Attempt(sync=sync, number=case.get("attempt", 1), identity=identity)
    settings = parse_settings(case.get("settings", {}), source="case")
    return job_manifest(attempt, settings, agent="default", region=case.get("region", "eu-west-1"), owner=OWNER)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    made = manifest(case)
    if os.environ.get("UPDATE_GOLDEN"):
        case["job"] = made
        plain = json.loads(json.dumps(case))  # without the anchors of shared parts
        path.write_text(yaml.safe_dump(plain, sort_keys=False, width=200, allow_unicode=True))
    assert made == case["job"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_confined_and_keyless(path: Path) -> None:
    pod = manifest(yaml.safe_load(path.read_text()))["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        variables = {each["name"]: each.get("value") for each in container["env"]}
        assert variables["AWS_WEB_IDENTITY_TOKEN_FILE"] == "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
        assert not {name for name in variables if "KEY_ID" in name or "SECRET" in name}
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["aws-iam-token"] == "/var/run/secrets/eks.amazonaws.com/serviceaccount"


def test_the_job_reads_what_it_is_given() -> None:
    case = yaml.safe_load((Path(__file__).parent / "jobs" / "secret-source.yaml").read_text())
    container = manifest(case)["spec"]["template"]["spec"]["containers"][0]
    variables = {each["name"]: each for each in container["env"]}
    spec = AttemptSpec.model_validate_json(variables["TOWPATH_ATTEMPT"]["value"])
    assert spec.source_url_variable == "TOWPATH_SOURCE_URL"
    assert variables["TOWPATH_SOURCE_URL"]["valueFrom"] == {"secretKeyRef": {"name": "orders-db", "key": "url"}}


def test_dollars_stay_dollars() -> None:
    """Kubernetes would fill in $(AWS_ROLE_ARN), and make one $ of two."""
    source = {"sqlite": {"path": "/x/$(AWS_ROLE_ARN)", "tables": ["a$$b"]}}
    case = {"pipeline": {"name": "x", "source": source, "destination": {"s3": {"bucket": "orders-lake"}}}}
    container = manifest(case)["spec"]["template"]["spec"]["containers"][0]
    value = next(each["value"] for each in container["env"] if each["name"] == "TOWPATH_ATTEMPT")
    assert "/x/$$(AWS_ROLE_ARN)" in value
    assert AttemptSpec.model_validate_json(value.replace("$$", "$")).pipeline.source.sqlite is not None


@pytest.mark.parametrize(
    ("sync", "attempt"),
    [("flights-1", 1), ("x" * 300, 1), ("Ünï/cødé…", 3), ("", 1), ("-a-", 10**6), ("a.b_c", 2), ("\n\x00", 1)],
)
def test_names_are_names(sync: str, attempt: int) -> None:
    import re

    name = job_name(sync, attempt)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 52
    assert name == job_name(sync, attempt)
    assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?", label_value(sync))
    assert len(label_value(sync)) <= 63


def test_names_differ() -> None:
    syncs = ["a", "A", "a-", "a-1", "a" * 60, "a" * 61, "ä", "ö"]
    names = {job_name(sync, number) for sync in syncs for number in (1, 2, 11)}
    assert len(names) == len(syncs) * 3
    assert len({label_value(sync) for sync in ["a" * 64, "a" * 65, "ä", "ö", "a b", "a/b"]}) == 6


@pytest.mark.parametrize(
    ("settings", "says", "where"),
    [
        ({"imagee": "x"}, "'imagee' is not known", "imagee"),
        ({"resources": {"memoryLimits": "1Gi"}}, "'memoryLimits' is not known", "resources.memoryLimits"),
        ({"keep": 60}, "less than 86400, the least", "keep"),
        ({"runAsUser": 0}, "less than 1, the least", "runAsUser"),
        ({"labels": {"a": "b" * 64}}, "is not a label", "labels"),
        ({"labels": {"a b": "c"}}, "is not a label", "labels"),
        ({"labels": {"towpath.dev/sync": "x"}}, "not yours to set", "labels"),
        ({"annotations": {"é": "x"}}, "is not an annotation's key", "annotations"),
        ({"imagePullPolicy": "Sometimes"}, "match pattern", "imagePullPolicy"),
        ([], "not an object with fields", "case"),
    ],
)
def test_bad_settings_are_named(settings: Any, says: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings(settings, source="case")
    assert says in caught.value.what
    assert where in caught.value.where
    assert caught.value.todo
