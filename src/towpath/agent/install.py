"""The agent's objects as plain YAML: the chart's own, rendered when it was released, with this installation's values put in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from towpath.agent.kubernetes.job import AGENT
from towpath.agent.kubernetes.settings import JobSettings, load_settings
from towpath.agent.work import check_name, check_namespace
from towpath.errors import UsageError
from towpath.iam import partition as partitions
from towpath.job.pipeline import load_pipelines

RENDERED_NAME: Final = "towpath-agent-default"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What differs from one installation to the next. Files are checked as the agent will check them."""

    namespace: str
    region: str
    queue: Path
    settings: Path | None = None
    name: str = "default"
    image: str | None = None  # None: the release's own
    at_once: int = 10
    retries: int = 2


def manifests(wanted: Installation) -> list[dict[str, Any]]:
    """The objects to apply, in order. Raises UsageError, PipelineError."""
    check_name(wanted.name)
    check_namespace(wanted.namespace)
    if not partitions.REGION.fullmatch(wanted.region):
        raise UsageError(
            f"{wanted.region!r} is not a region", where="--region", todo="give a region's code, as eu-west-1"
        )
    load_pipelines(wanted.queue)
    (load_settings(wanted.settings) if wanted.settings else JobSettings())
    work = {"pipelines": yaml.safe_load(wanted.queue.read_text(encoding="utf-8"))["pipelines"]}
    settings: Any = (yaml.safe_load(wanted.settings.read_text(encoding="utf-8")) if wanted.settings else None) or {}
    text = files("towpath.agent").joinpath("install.yaml").read_text(encoding="utf-8")
    text = text.replace(RENDERED_NAME, f"towpath-agent-{wanted.name}")
    objects = [each for each in yaml.safe_load_all(text) if each]
    for each in objects:
        each["metadata"]["namespace"] = wanted.namespace
        _labelled(each, wanted.name)
        if each["kind"] == "ConfigMap" and each["metadata"]["name"].endswith("-work"):
            each["data"] = {"syncs.yaml": _yaml(work), "settings.yaml": _yaml(settings)}
        if each["kind"] == "RoleBinding":
            each["subjects"][0]["namespace"] = wanted.namespace
        if each["kind"] == "Deployment":
            _deployment(each, wanted, settings)
    return objects


def as_yaml(objects: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False)


def _labelled(found: dict[str, Any], name: str) -> None:
    """The agent's name, wherever the chart's labels have it: on its own objects, and where its Jobs are chosen."""
    spec = found.get("spec", {})
    places = [found["metadata"].get("labels"), spec.get("template", {}).get("metadata", {}).get("labels")]
    places += [spec.get("selector", {}).get("matchLabels"), spec.get("podSelector", {}).get("matchLabels")]
    for labels in places:
        for key in ("app.kubernetes.io/instance", AGENT):
            if labels and key in labels:
                labels[key] = name


def _deployment(found: dict[str, Any], wanted: Installation, settings: Any) -> None:
    template = found["spec"]["template"]
    (container,) = template["spec"]["containers"]
    if wanted.image is not None:
        container["image"] = wanted.image
    flags = {"--name": wanted.name, "--at-once": wanted.at_once, "--retries": wanted.retries}
    container["args"] = [
        f"{flag}={flags[flag]}" if (flag := word.partition("=")[0]) in flags else word for word in container["args"]
    ]
    for variable in container["env"]:
        if variable["name"] == "AWS_REGION":
            variable["value"] = wanted.region
    digest = hashlib.sha256(json.dumps(settings, separators=(",", ":"), sort_keys=True).encode()).hexdigest()
    template["metadata"]["annotations"]["checksum/settings"] = digest


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False)
