"""The stand-in for the EKS webhook does what injection.yaml says of the real one, and leaves our own Job as it is. Needs no cluster."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.agent.kubernetes.cluster import identity_of
from towpath.agent.kubernetes.job import job_manifest
from towpath.agent.kubernetes.settings import parse_settings
from towpath.agent.work import Attempt

from .agents import SMALL, syncs
from .webhook import Association, Installation, inject

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("injection.yaml").read_text())
ROLE = {"role-arn": "arn:aws:iam::123456789012:role/hd"}
INIT = {"initContainers": [{"name": "init", "image": "x"}]}


def named(values: dict[str, str]) -> dict[str, str]:
    return {f"eks.amazonaws.com/{key}": value for key, value in values.items()}


def flags_of(case: dict[str, Any]) -> Installation:
    found = dict(case.get("flags", {}))
    if "association" in found:
        found["association"] = Association(**found["association"])
    return Installation(**found)


def pod_of(short: dict[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    """A pod from the table's short form."""
    spec = copy.deepcopy(short)
    for volume in range(len(spec.get("volumes", []))):
        name, *token = spec["volumes"][volume].split(":")
        spec["volumes"][volume] = {"name": name, **(projected(*token) if token else {"emptyDir": {}})}
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        if "env" in container:
            container["env"] = [
                dict(zip(("name", "value"), text.split("=", 1), strict=True)) for text in container["env"]
            ]
        if "mounts" in container:
            pairs = [text.split(":") for text in container.pop("mounts")]
            container["volumeMounts"] = [{"name": name, "mountPath": path, "readOnly": True} for name, path in pairs]
    labels = spec.pop("labels", None)
    return {"metadata": {"annotations": named(notes), **({"labels": labels} if labels else {})}, "spec": spec}


def projected(audience: str, seconds: str, path: str) -> dict[str, Any]:
    token = {"audience": audience, "expirationSeconds": int(seconds), "path": path}
    return {"projected": {"sources": [{"serviceAccountToken": token}]}}


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_the_stand_in(case: dict[str, Any]) -> None:
    notes = case.get("notes", {})
    before = pod_of(case["pod"], notes)
    given = copy.deepcopy(before)
    after = inject(before, named(case["account"]), flags_of(case), jitter=lambda low, _: low)
    assert before == given
    assert after == pod_of(case.get("expected", case["pod"]), notes)


def ours(annotations: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    """The pod of our Job, as the API server would hand it to a webhook."""
    identity = identity_of(annotations)
    assert identity is not None
    (sync,) = syncs("one")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}
    job = job_manifest(
        Attempt(sync=sync, number=1, identity=identity),
        parse_settings({**SMALL, **settings}, source="test"),
        agent="test",
        region="eu-west-1",
        owner=owner,
    )
    return job["spec"]["template"]


@pytest.mark.parametrize(
    "account",
    [
        {},
        {"audience": "sts.example.com"},
        {"token-expiration": "7200"},
        {"token-expiration": "0"},
        {"token-expiration": "2h"},
        {"sts-regional-endpoints": "false"},
    ],
    ids=str,
)
def test_our_job_has_what_a_plain_pod_gets_and_comes_out_as_it_went_in(account: dict[str, str]) -> None:
    annotations = named({**ROLE, **account})
    mine = ours(annotations, INIT)
    flags = Installation(region="eu-west-1", regional_sts=True)
    assert inject(mine, annotations, flags) == mine
    plain = inject({"metadata": {}, "spec": {"containers": [{"name": "job"}]}}, annotations, flags)["spec"]
    assert plain["volumes"][0] == mine["spec"]["volumes"][0]
    for container in [*mine["spec"]["initContainers"], *mine["spec"]["containers"]]:
        assert plain["containers"][0]["volumeMounts"][0] in container["volumeMounts"]
        variables = {each["name"]: each.get("value") for each in container["env"]}
        # Regional endpoints are not a matter of choice in a Job of ours, and the job's guard refuses a second region.
        assert variables["AWS_STS_REGIONAL_ENDPOINTS"] == "regional"
        for each in plain["containers"][0]["env"]:
            assert each["name"] == "AWS_DEFAULT_REGION" or variables[each["name"]] == each["value"]


def test_a_pod_identity_association_gives_our_containers_no_second_way() -> None:
    """A plain pod of the same service account does get it."""
    flags = Installation(region="eu-west-1", regional_sts=True, association=Association())
    plain = inject({"metadata": {}, "spec": {"containers": [{"name": "job"}]}}, named(ROLE), flags)["spec"]
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in {each["name"] for each in plain["containers"][0]["env"]}
    mine = ours(named(ROLE), INIT)
    after = inject(mine, named(ROLE), flags)
    for part in ("initContainers", "containers"):
        assert after["spec"][part] == mine["spec"][part]


def test_a_lifetime_in_the_job_settings_comes_first() -> None:
    mine = ours(named({**ROLE, "token-expiration": "7200"}), {"tokenExpiration": 3600})
    assert mine["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600
