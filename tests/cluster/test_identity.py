"""The chain with a real cluster in it: service accounts by server-side apply, its own issuer, tokens it signed, its RBAC."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml

from .conftest import RunningSandbox, TestCluster

ROLE_ARN = "eks.amazonaws.com/role-arn"
_numbers = itertools.count()


@dataclass
class Identity:
    """`towpath identity` as a process, for one service account."""

    cluster: TestCluster
    namespace: str
    role: str
    directory: Path

    def run(self, command: str, *more: str, kubeconfig: Path | None = None, status: int = 0) -> str:
        words = [str(Path(sys.executable).with_name("towpath")), "identity", command]
        words += ["--cluster", "lab", "--region", "eu-west-1", "--namespace", self.namespace]
        words += ["--kubeconfig", str(kubeconfig or self.cluster.kubeconfig), "--role", self.role]
        words += ["--policy-file", str(self.directory / "s3-policy.json"), "--state", str(self.directory / "state")]
        done = subprocess.run([*words, *more], capture_output=True, text=True, check=False)
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    def json(self, command: str, *more: str, **given: Any) -> Any:
        return json.loads(self.run(command, "--json", *more, **given))

    def account(self, name: str = "hd-job-sa") -> dict[str, Any]:
        return self.cluster.json("get", "serviceaccount", name, "-n", self.namespace, "--show-managed-fields")


@pytest.fixture
def identity(cluster: TestCluster, namespace: str, aws: RunningSandbox, tmp_path: Path) -> Identity:
    number = next(_numbers)
    bucket = f"orders-{namespace}"
    s3 = botocore.session.get_session().create_client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    statements = [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": f"arn:aws:s3:::{bucket}"},
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"arn:aws:s3:::{bucket}/*"},
    ]
    (tmp_path / "s3-policy.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    return Identity(cluster=cluster, namespace=namespace, role=f"hd-{namespace}-{number}", directory=tmp_path)


def links(report: Any) -> dict[str, bool | None]:
    return {link["link"]: link["ok"] for link in report[0]["links"]}


def test_from_nothing_to_a_real_exchange_and_back(identity: Identity) -> None:
    made = [change["kind"] for change in identity.json("apply", "--yes")]
    assert made[-1] == "annotate service account"
    assert identity.json("plan") == []
    report = identity.json("doctor")
    assert set(links(report).values()) == {True}, report
    assert report[0]["findings"] == []
    issuer = next(link["evidence"] for link in report[0]["links"] if link["link"] == "issuer")
    assert issuer.startswith("https://oidc.eks.eu-west-1.amazonaws.com/id/")
    injection = next(link["evidence"] for link in report[0]["links"] if link["link"] == "injection")
    assert "webhook" in injection
    account = identity.account()
    assert account["metadata"]["annotations"] == {ROLE_ARN: f"arn:aws:iam::123456789012:role/{identity.role}"}
    assert {entry["manager"] for entry in account["metadata"]["managedFields"]} == {"towpath"}
    assert links(identity.json("prove"))["exchange"] is True
    identity.json("destroy", "--yes")
    assert "hd-job-sa" not in identity.cluster.kubectl("get", "serviceaccounts", "-n", identity.namespace)


def test_a_changed_annotation_keeps_our_label(identity: Identity) -> None:
    """Or destroy would not know any more who made the service account."""
    identity.json("apply", "--yes")
    identity.cluster.kubectl(
        "annotate", "serviceaccount", "hd-job-sa", "-n", identity.namespace, "--overwrite", f"{ROLE_ARN}=x"
    )
    (change,) = identity.json("plan")
    assert change["before"] == {ROLE_ARN: "x"}
    assert "kubectl-annotate" in change["note"]
    identity.json("apply", "--yes")
    assert identity.account()["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "towpath"}
    assert links(identity.json("doctor"))["service account"] is True


def test_namespace_is_created_when_it_is_missing(identity: Identity) -> None:
    identity.namespace += "-new"
    identity.json("apply", "--yes")
    assert identity.account()["metadata"]["name"] == "hd-job-sa"
    identity.cluster.kubectl("delete", "namespace", identity.namespace, "--wait=false")


def test_helm_owned_service_account_keeps_what_is_helms(identity: Identity) -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": "hd-job-sa",
            "namespace": identity.namespace,
            "labels": {"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "hybrid-deployment-agent-0.1"},
            "annotations": {
                "meta.helm.sh/release-name": "hd-agent",
                "meta.helm.sh/release-namespace": "data",
                "team": "x",
            },
        },
        "imagePullSecrets": [{"name": "registry"}],
    }
    identity.cluster.kubectl("create", "--field-manager=helm", "-f", "-", stdin=json.dumps(account))
    change = next(change for change in identity.json("plan") if change["kind"] == "annotate service account")
    assert "config.sa_annotations" in change["note"]
    assert "release hd-agent in namespace data" in change["note"]
    assert "config.sa_annotations" in identity.run("apply", "--yes")
    after = identity.account()
    assert after["metadata"]["labels"] == account["metadata"]["labels"]
    assert after["imagePullSecrets"] == account["imagePullSecrets"]
    arn = f"arn:aws:iam::123456789012:role/{identity.role}"
    assert after["metadata"]["annotations"] == {**account["metadata"]["annotations"], ROLE_ARN: arn}
    owned = {entry["manager"]: entry["fieldsV1"] for entry in after["metadata"]["managedFields"]}
    assert owned["towpath"] == {"f:metadata": {"f:annotations": {f"f:{ROLE_ARN}": {}}}}
    identity.json("destroy", "--yes")
    left = identity.account()["metadata"]
    assert left["annotations"] == account["metadata"]["annotations"]
    assert left["labels"] == account["metadata"]["labels"]


def test_webhook_annotations_from_the_manifest(identity: Identity) -> None:
    manifest = {
        "cluster": {"name": "lab", "region": "eu-west-1"},
        "namespace": identity.namespace,
        "identities": [
            {
                "serviceAccount": "hd-job-sa",
                "role": {"name": identity.role},
                "audience": "sts.example.com",
                "tokenExpiration": "1h",
                "stsRegionalEndpoints": True,
            }
        ],
    }
    path = identity.directory / "towpath.yaml"
    path.write_text(yaml.safe_dump(manifest))
    words = [str(Path(sys.executable).with_name("towpath")), "identity"]
    given = [
        "-f",
        str(path),
        "--kubeconfig",
        str(identity.cluster.kubeconfig),
        "--state",
        str(identity.directory),
        "--json",
    ]
    subprocess.run([*words, "apply", *given, "--yes"], check=True, capture_output=True)
    annotations = identity.account()["metadata"]["annotations"]
    assert {key.removeprefix("eks.amazonaws.com/"): value for key, value in annotations.items()} == {
        "role-arn": f"arn:aws:iam::123456789012:role/{identity.role}",
        "audience": "sts.example.com",
        "token-expiration": "3600",
        "sts-regional-endpoints": "true",
    }
    proved = subprocess.run([*words, "prove", *given], check=True, capture_output=True, text=True)
    assert links(json.loads(proved.stdout))["exchange"] is True
    planned = subprocess.run([*words, "plan", *given], check=True, capture_output=True, text=True)
    assert json.loads(planned.stdout) == []


# The least a command needs of the cluster, as docs/rbac.md has it: command -> rules.
READ = {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["hd-job-sa"], "verbs": ["get"]}
TOKEN = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["hd-job-sa"], "verbs": ["create"]}
WRITE = {**READ, "verbs": ["get", "patch", "delete"]}
CREATE = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["create"]}
DRY_RUN = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}


def restricted(cluster: TestCluster, namespace: str, rules: list[dict[str, Any]], directory: Path) -> Path:
    """A kubeconfig of somebody who may do exactly this in the namespace (and read the issuer, as everybody may on EKS)."""
    name = f"least-{len(rules)}-{abs(hash(json.dumps(rules))) % 10**6}"
    items = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": namespace},
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    token = cluster.kubectl("create", "token", name, "-n", namespace, "--duration=1h").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path = directory / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_least_rbac_of_each_command_is_enough(identity: Identity) -> None:
    def least(*rules: dict[str, Any]) -> Path:
        return restricted(identity.cluster, identity.namespace, list(rules), identity.directory)

    assert identity.json("plan", kubeconfig=least(READ))
    identity.json("apply", "--yes", kubeconfig=least(WRITE, CREATE))
    assert identity.json("plan", kubeconfig=least(READ)) == []
    assert links(identity.json("prove", kubeconfig=least(READ, TOKEN)))["exchange"] is True
    full = identity.json("doctor", kubeconfig=least(READ, TOKEN, DRY_RUN))
    assert set(links(full).values()) == {True}
    assert "no pod identity webhook acts" in json.dumps(full)
    without = identity.json("doctor", kubeconfig=least(READ, TOKEN))
    assert "not allowed to create pods" in json.dumps(without)
    identity.json("destroy", "--yes", kubeconfig=least(WRITE))


def test_the_least_rbac_to_make_the_namespace_too(identity: Identity) -> None:
    home = identity.namespace
    namespaces = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "patch"]}
    accounts = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "patch", "create"]}
    kubeconfig = restricted(identity.cluster, home, [], identity.directory)
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": home},
        "rules": [namespaces, accounts],
    }
    identity.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    user = yaml.safe_load(identity.cluster.kubectl("get", "serviceaccounts", "-n", home, "-o", "yaml"))["items"]
    name = next(each["metadata"]["name"] for each in user if each["metadata"]["name"].startswith("least-"))
    identity.cluster.kubectl(
        "create", "clusterrolebinding", home, f"--clusterrole={home}", f"--serviceaccount={home}:{name}"
    )
    try:
        identity.namespace = f"{home}-made"
        identity.json("apply", "--yes", kubeconfig=kubeconfig)
        assert identity.account()["metadata"]["name"] == "hd-job-sa"
    finally:
        identity.cluster.kubectl("delete", f"clusterrole/{home}", f"clusterrolebinding/{home}")
        identity.cluster.kubectl("delete", "namespace", identity.namespace, "--wait=false", "--ignore-not-found")


@pytest.mark.parametrize(
    ("command", "rules", "names"),
    [
        ("plan", [], "get serviceaccounts"),
        ("apply", [READ], "patch serviceaccounts"),
        ("prove", [READ], "create serviceaccounts/token"),
    ],
)
def test_the_missing_verb_is_named(identity: Identity, command: str, rules: list[dict[str, Any]], names: str) -> None:
    if command == "prove":
        identity.json("apply", "--yes")
    kubeconfig = restricted(identity.cluster, identity.namespace, rules, identity.directory)
    text = identity.run(command, *(["--yes"] if command == "apply" else []), kubeconfig=kubeconfig, status=1)
    assert names in text


def test_no_way_to_the_cluster_is_said(identity: Identity) -> None:
    config = yaml.safe_load(identity.cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = identity.directory / "nowhere.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    assert "the cluster at https://127.0.0.1:1 cannot be reached" in identity.run("plan", kubeconfig=path, status=1)
    assert "there is no way to the cluster" in identity.run("plan", kubeconfig=identity.directory / "absent", status=1)
    broken = identity.directory / "broken.kubeconfig"
    broken.write_text("- nothing\n")
    assert "there is no way to the cluster" in identity.run("plan", kubeconfig=broken, status=1)


def test_a_kubeconfig_of_another_cluster_is_recognised(identity: Identity, aws: RunningSandbox) -> None:
    """EKS says one issuer, the token has another: the exchange's refusal alone would send one looking elsewhere."""
    words = [str(Path(sys.executable).with_name("towpath")), "identity"]
    given = ["--eks", "sandbox", "--region", "eu-west-1", "-n", identity.namespace, "--role", identity.role, "--json"]
    given += ["--kubeconfig", str(identity.cluster.kubeconfig), "--state", str(identity.directory)]
    subprocess.run([*words, "apply", *given, "--yes"], check=True, capture_output=True)
    done = subprocess.run([*words, "doctor", *given], check=False, capture_output=True, text=True)
    codes = [finding["code"] for finding in json.loads(done.stdout)[0]["findings"]]
    assert done.returncode == 1
    assert "exchange.other-issuer" in codes
