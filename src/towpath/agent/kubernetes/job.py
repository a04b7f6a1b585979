"""The Job of an attempt, as a pure function: the same attempt gives the same manifest.

The token's volume and the two variables stand exactly where the EKS pod identity webhook puts them, under its names, so that a
webhook that is there finds nothing to add. What is secret stays where it is: the pod refers to it.
"""

from __future__ import annotations

from typing import Any, Final

from towpath.agent.kubernetes.names import job_name, label_value
from towpath.agent.kubernetes.settings import JobSettings
from towpath.agent.work import Attempt, Identity
from towpath.iam import partition as partitions
from towpath.job.attempt import AttemptSpec
from towpath.job.pipeline import SecretReference

SYNC: Final = "towpath.dev/sync"
PIPELINE: Final = "towpath.dev/pipeline"
ATTEMPT: Final = "towpath.dev/attempt"
AGENT: Final = "towpath.dev/agent"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
CONTAINER: Final = "job"
SKIP: Final = "eks.amazonaws.com/skip-containers"
TOKEN_VOLUME: Final = "aws-iam-token"
TOKEN_DIRECTORY: Final = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
TOKEN_SECONDS: Final = 86_400
SOURCE_URL: Final = "TOWPATH_SOURCE_URL"
SCRATCH: Final = "/tmp"


def job_manifest(
    attempt: Attempt, settings: JobSettings, *, agent: str, region: str, owner: dict[str, Any]
) -> dict[str, Any]:
    """The Job. `owner` is the reference to the object that owns it; `region` is AWS's."""
    pipeline = attempt.sync.pipeline
    labels = {
        **settings.labels,
        MANAGED_BY: "towpath",
        AGENT: label_value(agent),
        PIPELINE: label_value(pipeline.name),
        SYNC: label_value(attempt.sync.id),
        ATTEMPT: str(attempt.number),
    }
    annotations = {
        **settings.annotations,
        # The webhook leaves these containers alone: a Pod Identity association would give them a second way into AWS.
        SKIP: ",".join([*(str(each.get("name", "")) for each in settings.init_containers), CONTAINER]),
        # Cluster autoscalers leave a node with such a pod alone.
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(attempt.sync.id, attempt.number),
            "labels": labels,
            "annotations": {SYNC: attempt.sync.id},
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": settings.deadline,
            "ttlSecondsAfterFinished": settings.keep,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod(attempt, settings, region),
            },
        },
    }


def attempt_spec(attempt: Attempt, settings: JobSettings, region: str) -> AttemptSpec:
    """What the job is told: references, never secrets."""
    sql = attempt.sync.pipeline.source.sql
    refers = sql is not None and isinstance(sql.url, SecretReference)
    return AttemptSpec(
        pipeline=attempt.sync.pipeline,
        sync=attempt.sync.id,
        attempt=attempt.number,
        role_arn=attempt.identity.role_arn,
        region=region,
        audience=attempt.identity.audience,
        endpoint_url=settings.endpoint_url,
        ca_bundle=settings.ca_bundle,
        source_url_variable=SOURCE_URL if refers else None,
    )


def _pod(attempt: Attempt, settings: JobSettings, region: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "serviceAccountName": attempt.sync.pipeline.identity,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": settings.run_as_user,
            "runAsGroup": settings.run_as_user,
            "fsGroup": settings.run_as_user,  # the token file is readable by this group
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [*settings.tolerations, *_patience(settings.unreachable_seconds)],
        "containers": [_container(attempt, settings, region)],
        "volumes": [
            _token_volume(attempt.identity, settings, region),
            {"name": "scratch", "emptyDir": {"sizeLimit": settings.scratch}},
            *settings.volumes,
        ],
    }
    if settings.init_containers:
        spec["initContainers"] = [_initial(each, attempt, settings, region) for each in settings.init_containers]
    optional = {
        "nodeSelector": settings.node_selector,
        "affinity": settings.affinity,
        "priorityClassName": settings.priority_class,
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
    }
    return spec | {key: value for key, value in optional.items() if value}


def _container(attempt: Attempt, settings: JobSettings, region: str) -> dict[str, Any]:
    resources = settings.resources
    limits = {"cpu": resources.cpu_limit, "memory": resources.memory_limit}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": [*_identity_variables(attempt, settings, region), *_job_variables(attempt, settings, region)],
        "resources": {
            "requests": {"cpu": resources.cpu, "memory": resources.memory},
            "limits": {key: value for key, value in limits.items() if value is not None},
        },
        "securityContext": _confined(),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [_token_mount(), {"name": "scratch", "mountPath": SCRATCH}, *settings.volume_mounts],
    }
    if settings.command:
        container["command"] = list(settings.command)
    return container


def _initial(given: dict[str, Any], attempt: Attempt, settings: JobSettings, region: str) -> dict[str, Any]:
    """Somebody's init container, with the identity every container of the pod has."""
    return {
        "securityContext": _confined(),
        **given,
        "env": [*_identity_variables(attempt, settings, region), *given.get("env", [])],
        "volumeMounts": [_token_mount(), *given.get("volumeMounts", [])],
    }


def _identity_variables(attempt: Attempt, settings: JobSettings, region: str) -> list[dict[str, Any]]:
    values = {
        "AWS_ROLE_ARN": attempt.identity.role_arn,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{TOKEN_DIRECTORY}/token",
        "AWS_REGION": region,
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
        "AWS_EC2_METADATA_DISABLED": "true",
        # An image's own profile would come before web identity: there is none to be found.
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_CA_BUNDLE": settings.ca_bundle,
    }
    return [{"name": name, "value": _literal(value)} for name, value in values.items() if value is not None]


def _literal(value: str) -> str:
    """Kubernetes fills $(NAME) in a variable's value; a pipeline may contain that text and mean it (envVar.value, API reference)."""
    return value.replace("$", "$$")


def _job_variables(attempt: Attempt, settings: JobSettings, region: str) -> list[dict[str, Any]]:
    spec = attempt_spec(attempt, settings, region)
    variables: list[dict[str, Any]] = [
        {"name": "TOWPATH_ATTEMPT", "value": _literal(spec.model_dump_json(exclude_none=True))},
        {"name": "TOWPATH_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "HOME", "value": SCRATCH},
        {"name": "TMPDIR", "value": SCRATCH},
    ]
    sql = attempt.sync.pipeline.source.sql
    if sql is not None and isinstance(sql.url, SecretReference):
        reference = {"name": sql.url.secret, "key": sql.url.key}
        variables.append({"name": SOURCE_URL, "valueFrom": {"secretKeyRef": reference}})
    return variables


def _token_volume(identity: Identity, settings: JobSettings, region: str) -> dict[str, Any]:
    token = {
        "audience": identity.audience or partitions.of_region(region).sts_audience,
        "expirationSeconds": settings.token_expiration or identity.token_expiration or TOKEN_SECONDS,
        "path": "token",
    }
    return {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}


def _token_mount() -> dict[str, Any]:
    return {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY, "readOnly": True}


def _confined() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _patience(seconds: int) -> list[dict[str, Any]]:
    """How long a pod on a node that stopped answering is waited for."""
    return [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for what in ("not-ready", "unreachable")
    ]
