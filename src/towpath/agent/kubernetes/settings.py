"""How Jobs are launched: everything a person may set, with units and defaults, read from one YAML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from towpath import yaml_files

IMAGE: Final = "ghcr.io/towpath/job:latest"
QUALIFIED: Final = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
OURS: Final = ("towpath.dev/", "app.kubernetes.io/", "batch.kubernetes.io/", "kubernetes.io/")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Resources(_Model):
    """Kubernetes quantities, as `500m` and `1Gi`. Without a memory limit a job could take the whole node with it."""

    cpu: str = "500m"
    memory: str = "1Gi"
    cpu_limit: str | None = Field(default=None, alias="cpuLimit")
    memory_limit: str | None = Field(default="2Gi", alias="memoryLimit")


class JobSettings(_Model):
    """Settings of every Job the agent launches."""

    image: str = IMAGE
    image_pull_policy: str = Field(
        default="IfNotPresent", alias="imagePullPolicy", pattern="^(Always|IfNotPresent|Never)$"
    )
    image_pull_secrets: tuple[str, ...] = Field(default=(), alias="imagePullSecrets")
    command: tuple[str, ...] = ()  # () is the image's own
    resources: Resources = Resources()
    deadline: int = Field(default=86_400, ge=1)  # seconds from launch until the attempt is ended
    start_deadline: int = Field(default=900, alias="startDeadline", ge=1)  # seconds until a container has to run
    keep: int = Field(default=86_400, ge=86_400)  # seconds an ended Job is kept if its result was never acknowledged
    # Seconds; None: the service account's annotation, else a day.
    token_expiration: int | None = Field(default=None, alias="tokenExpiration", ge=600, le=86_400)
    unreachable_seconds: int = Field(default=60, alias="unreachableSeconds", ge=0)  # a lost node is waited for
    run_as_user: int = Field(default=65_532, alias="runAsUser", ge=1)
    scratch: str = "10Gi"  # size of the emptyDir the job works in
    node_selector: dict[str, str] = Field(default_factory=dict, alias="nodeSelector")
    affinity: dict[str, Any] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    priority_class: str | None = Field(default=None, alias="priorityClass")
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    volumes: tuple[dict[str, Any], ...] = ()
    volume_mounts: tuple[dict[str, Any], ...] = Field(default=(), alias="volumeMounts")
    init_containers: tuple[dict[str, Any], ...] = Field(default=(), alias="initContainers")
    region: str | None = None  # AWS region; None: the agent's own AWS_REGION
    endpoint_url: str | None = Field(default=None, alias="endpointUrl")  # AWS_ENDPOINT_URL, for a sandbox
    ca_bundle: str | None = Field(default=None, alias="caBundle")  # AWS_CA_BUNDLE, a path in the container

    @field_validator("labels")
    @classmethod
    def _labels(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            if not QUALIFIED.fullmatch(key) or not VALUE.fullmatch(text):
                raise ValueError(f"{key}: {text!r} is not a label: at most 63 letters, digits, '-', '_' and '.'")
        return _foreign(value)

    @field_validator("annotations")
    @classmethod
    def _annotations(cls, value: dict[str, str]) -> dict[str, str]:
        for key in value:
            if not QUALIFIED.fullmatch(key):
                raise ValueError(f"{key!r} is not an annotation's key: [PREFIX/]NAME, the name at most 63 characters")
        return _foreign(value)


def _foreign(value: dict[str, str]) -> dict[str, str]:
    for key in value:
        if key.startswith(OURS):
            raise ValueError(f"{key} begins with {key.partition('/')[0]}/, which is not yours to set here")
    return value


def load_settings(path: Path) -> JobSettings:
    """Raises UsageError with the field's path, and for an unknown field the nearest known one."""
    value = yaml_files.read(path, noun="job settings' file", todo="give the path of a YAML file")
    return parse_settings({} if value is None else value, source=str(path))


def parse_settings(value: object, *, source: str) -> JobSettings:
    """The same from a value that was read already."""
    try:
        return JobSettings.model_validate(value)
    except ValidationError as error:
        raise yaml_files.refusal(error, source=source, known=_fields) from None


def _fields(location: tuple[int | str, ...]) -> list[str]:
    model = Resources if location and location[0] == "resources" else JobSettings
    return [field.alias or name for name, field in model.model_fields.items()]
