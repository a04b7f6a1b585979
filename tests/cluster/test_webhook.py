"""Where a pod identity webhook is installed our pods come out as they went in, and like a plain pod that it prepared."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from towpath.identity.service_accounts import KubernetesServiceAccounts

from .agents import ROLE_ARN, SMALL, SUCCEED, Harness, shell, syncs
from .conftest import TestCluster
from .webhook import Installation, Webhook


@pytest.fixture
def agents(cluster: TestCluster, namespace: str) -> Iterator[Harness]:
    harness = Harness(cluster=cluster, namespace=namespace)
    harness.prepare()
    yield harness
    harness.stop()


@pytest.fixture
def webhook(agents: Harness) -> Iterator[Webhook]:
    """The stand-in of webhook.py, for this namespace's pods."""
    own = agents.cluster.own
    if own is None:
        pytest.skip("signs a certificate with the authority of the cluster of `make cluster`")
    pki = own.settings.directory / "pki"

    def annotations(namespace: str, name: str) -> dict[str, str]:
        return agents.cluster.json("get", "serviceaccount", name, "-n", namespace)["metadata"].get("annotations", {})

    with Webhook(
        agents.cluster.address,
        pki / "apiserver.crt",
        pki / "apiserver.key",
        annotations,
        Installation(region="eu-west-1", regional_sts=True),
    ) as found:
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": agents.namespace},
            "webhooks": [
                {
                    "name": "pod-identity-webhook.amazonaws.com",
                    "clientConfig": {
                        "url": found.url,
                        "caBundle": base64.b64encode((pki / "ca.crt").read_bytes()).decode(),
                    },
                    "rules": [
                        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                    ],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": agents.namespace}},
                    "sideEffects": "None",
                    "failurePolicy": "Fail",
                    "admissionReviewVersions": ["v1"],
                }
            ],
        }
        agents.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(configuration))
        yield found
        agents.cluster.kubectl("delete", "mutatingwebhookconfiguration", agents.namespace)


def identity_of(pod: dict[str, Any]) -> dict[str, Any]:
    """What a pod has of the identity: volumes, and each container's variables and mounts."""
    spec = pod["spec"]
    names = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION", "AWS_STS_REGIONAL_ENDPOINTS")
    return {
        "volumes": [volume for volume in spec["volumes"] if volume["name"] == "aws-iam-token"],
        "containers": [
            {
                "env": {each["name"]: each["value"] for each in container["env"] if each["name"] in names},
                "mounts": [mount for mount in container["volumeMounts"] if mount["name"] == "aws-iam-token"],
            }
            for container in [*spec.get("initContainers", []), *spec["containers"]]
        ],
    }


def ours(agents: Harness, settings: dict[str, Any]) -> dict[str, Any]:
    agents.start(syncs("one"), settings)
    agents.running()
    return agents.cluster.json("get", "pods", "-n", agents.namespace, "-l", "towpath.dev/pipeline=one")["items"][0]


def plain(agents: Harness) -> dict[str, Any]:
    """A pod of the same service account that nobody prepared, asked about by a dry run."""
    containers = [{"name": "init", "image": SMALL["image"]}], [{"name": "job", "image": SMALL["image"]}]
    spec = {"serviceAccountName": "hd-job-sa", "initContainers": containers[0], "containers": containers[1]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain"},
        "spec": {**spec, "automountServiceAccountToken": False},
    }
    words = ("create", "-n", agents.namespace, "--dry-run=server", "-o", "json", "-f", "-")
    return json.loads(agents.cluster.kubectl(*words, stdin=json.dumps(pod)))


INIT = {"initContainers": [{"name": "init", "image": SMALL["image"], "imagePullPolicy": "Never", "command": ["true"]}]}


def test_with_a_webhook_ours_and_a_plain_pod_are_the_same(agents: Harness, webhook: Webhook) -> None:
    mine = ours(agents, {**shell(f"sleep 1; {SUCCEED}"), **INIT})
    assert identity_of(mine) == identity_of(plain(agents))
    (volume,) = [each for each in mine["spec"]["volumes"] if each["name"] == "aws-iam-token"]
    assert volume["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "sts.amazonaws.com"
    for container in mine["spec"]["containers"]:
        names = [each["name"] for each in container["env"]]
        assert len(names) == len(set(names))
        # What the guard would refuse must not have been added.
        assert "AWS_DEFAULT_REGION" not in names
    agents.finish()


def test_without_a_webhook_ours_is_the_same_pod(agents: Harness) -> None:
    found = identity_of(ours(agents, {**shell(f"sleep 1; {SUCCEED}"), **INIT}))
    assert len(found["volumes"]) == 1
    for container in found["containers"]:
        assert container["env"]["AWS_ROLE_ARN"] == ROLE_ARN
        assert len(container["mounts"]) == 1
    agents.finish()


def test_doctor_tells_which_is_the_case(agents: Harness, request: pytest.FixtureRequest) -> None:
    accounts = KubernetesServiceAccounts(kubeconfig=agents.cluster.kubeconfig)
    try:
        without = accounts.injection(agents.namespace, "hd-job-sa")
        request.getfixturevalue("webhook")
        having = accounts.injection(agents.namespace, "hd-job-sa")
    finally:
        accounts.close()
    assert "no pod identity webhook acts" in without
    assert "a pod identity webhook is installed" in having
