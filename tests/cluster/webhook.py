"""A stand-in for the EKS pod identity webhook, an admission webhook of our own on this machine.

The real one (github.com/aws/amazon-eks-pod-identity-webhook) is not to be had from the Go module proxy. What is done here was read in
its source and its tests' pods, as of commit 604af92 (after v0.6.8): injection.yaml names each behaviour, and test_injection.py holds
this to it.
"""

from __future__ import annotations

import base64
import copy
import csv
import json
import random
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

PREFIX = "eks.amazonaws.com"
DAY, DAY_LESS_TWO_HOURS = 86_400, 79_200
SHORTEST = 600  # seconds
TRUE, FALSE = {"1", "t", "T", "TRUE", "true", "True"}, {"0", "f", "F", "FALSE", "false", "False"}
WEB_IDENTITY = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")
CONTAINER_CREDENTIALS = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")


@dataclass(frozen=True, kw_only=True)
class Association:
    """EKS Pod Identity's mode: the service account has an association, and credentials come from the node's agent."""

    uri: str = "http://169.254.170.23/v1/credentials"
    audience: str = "pods.eks.amazonaws.com"
    volume: str = "eks-pod-identity-token"
    directory: str = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"
    token: str = "eks-pod-identity-token"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The webhook's flags. On EKS the region is the cluster's and `regional_sts` is true."""

    region: str = ""
    regional_sts: bool = False
    audience: str = "sts.amazonaws.com"
    expiration: int = DAY
    association: Association | None = None


def inject(
    pod: dict[str, Any],
    annotations: Mapping[str, str],
    flags: Installation,
    *,
    jitter: Callable[[int, int], int] = random.randint,
) -> dict[str, Any]:
    """The pod as it comes out. `annotations` are the service account's."""
    role = annotations.get(f"{PREFIX}/role-arn")
    found = flags.association
    if found is None and not role:
        return pod
    lifetime = _seconds(pod["metadata"].get("annotations", {}), _seconds(annotations, flags.expiration))
    if found is not None:
        lifetime = jitter(DAY_LESS_TWO_HOURS, DAY) if lifetime == DAY else lifetime
        volume, directory, token = found.volume, found.directory, found.token
        audience, names = found.audience, CONTAINER_CREDENTIALS
    else:
        volume, directory, token = "aws-iam-token", f"/var/run/secrets/{PREFIX}/serviceaccount", "token"
        audience, names = annotations.get(f"{PREFIX}/audience", flags.audience), WEB_IDENTITY
    out = copy.deepcopy(pod)
    spec = out["spec"]
    present = next((each for each in spec.get("volumes", []) if each["name"] == volume), None)
    if present is not None and not _is_token(present, audience, token):
        return pod
    file = f"{directory}/{token}"
    if "windows" in {spec.get("nodeSelector", {}).get(f"{key}kubernetes.io/os") for key in ("", "beta.")}:
        file = "C:" + file.replace("/", "\\")
    variables: dict[str, str] = dict(zip(names, (found.uri if found is not None else str(role), file), strict=True))
    regional = _truth(annotations.get(f"{PREFIX}/sts-regional-endpoints"), flags.regional_sts)
    skipped = _skipped(pod)
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        if container["name"] not in skipped:
            _complete(container, variables, regional, flags.region, {"name": volume, "mountPath": directory})
    if present is None:
        projected = {"audience": audience, "expirationSeconds": lifetime, "path": token}
        spec["volumes"] = [
            {"name": volume, "projected": {"sources": [{"serviceAccountToken": projected}]}},
            *spec.get("volumes", []),
        ]
    if found is not None:
        out["metadata"]["labels"] = {**out["metadata"].get("labels", {}), f"{PREFIX}/pod-identity": "enabled"}
    return out


def _complete(
    container: dict[str, Any], variables: Mapping[str, str], regional: bool, region: str, mount: dict[str, Any]
) -> None:
    env: list[dict[str, Any]] = list(container.get("env", []))
    set_ = {each["name"] for each in env}
    has_identity = bool(set_ & variables.keys())
    has_region = bool(set_ & {"AWS_REGION", "AWS_DEFAULT_REGION"})
    has_sts = "AWS_STS_REGIONAL_ENDPOINTS" in set_
    if has_identity and has_region and has_sts:
        return  # not even the mount
    if not has_sts and regional:
        env.append({"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional"})
    if not has_region and region:
        env += [{"name": name, "value": region} for name in ("AWS_DEFAULT_REGION", "AWS_REGION")]
    if not has_identity:
        env += [{"name": name, "value": value} for name, value in variables.items()]
    if env:
        container["env"] = env
    if not any(each["name"] == mount["name"] for each in container.get("volumeMounts", [])):
        container["volumeMounts"] = [*container.get("volumeMounts", []), {**mount, "readOnly": True}]


def _is_token(volume: Mapping[str, Any], audience: str, path: str) -> bool:
    """Whether it is the very volume that would be added, as when the webhook is asked a second time."""
    tokens = [each.get("serviceAccountToken") or {} for each in volume.get("projected", {}).get("sources", [])]
    return any(token.get("audience") == audience and token.get("path") == path for token in tokens)


def _seconds(annotations: Mapping[str, str], default: int) -> int:
    text = annotations.get(f"{PREFIX}/token-expiration", "")
    return max(SHORTEST, int(text)) if re.fullmatch(r"[+-]?[0-9]+", text) else default


def _truth(text: str | None, default: bool) -> bool:
    return text in TRUE if text in TRUE | FALSE else default


def _skipped(pod: Mapping[str, Any]) -> set[str]:
    """One line of comma-separated values; blanks count."""
    text = pod["metadata"].get("annotations", {}).get(f"{PREFIX}/skip-containers", "")
    return set(next(csv.reader([text]), []))


class Webhook:
    """Serves on the node's address with a certificate the API server trusts. `annotations` looks a service account up."""

    def __init__(
        self,
        address: str,
        certificate: Path,
        key: Path,
        annotations: Callable[[str, str], dict[str, str]],
        flags: Installation,
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                request = review["request"]
                pod = request["object"]
                found = annotations(request["namespace"], pod["spec"].get("serviceAccountName", "default"))
                after = inject(pod, found, flags)
                patch = [{"op": "replace", "path": f"/{part}", "value": after[part]} for part in ("metadata", "spec")]
                answer = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch"}
                answer["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
                body = json.dumps(
                    {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer((address, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://{address}:{self._server.server_address[1]}/mutate"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
