"""A stand-in for the EKS pod identity webhook, by its documentation: an admission webhook of our own on this machine.

The real one (github.com/aws/amazon-eks-pod-identity-webhook) could not be had from the Go module proxy where these tests were written.
What it does, by the project's README and AWS's "Configure Pods to use a Kubernetes service account": for a pod whose service account is
annotated with a role, the projected volume aws-iam-token is added once, its mount to each container that lacks it, and the variables
AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE where a container has neither; AWS_STS_REGIONAL_ENDPOINTS and the region where they are not set.
"""

from __future__ import annotations

import base64
import copy
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

VOLUME = "aws-iam-token"
DIRECTORY = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
PREFIX = "eks.amazonaws.com"


def inject(pod: dict[str, Any], annotations: dict[str, str], region: str) -> dict[str, Any]:
    """The pod as it comes out."""
    role = annotations.get(f"{PREFIX}/role-arn")
    if not role:
        return pod
    out = copy.deepcopy(pod)
    spec = out["spec"]
    if not any(volume["name"] == VOLUME for volume in spec.get("volumes", [])):
        token = {
            "audience": annotations.get(f"{PREFIX}/audience", "sts.amazonaws.com"),
            "expirationSeconds": int(annotations.get(f"{PREFIX}/token-expiration", "86400")),
            "path": "token",
        }
        spec.setdefault("volumes", []).insert(
            0, {"name": VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}
        )
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        present = {each["name"] for each in container.setdefault("env", [])}
        if "AWS_STS_REGIONAL_ENDPOINTS" not in present:
            container["env"].append({"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional"})
        if not present & {"AWS_REGION", "AWS_DEFAULT_REGION"}:
            container["env"] += [{"name": name, "value": region} for name in ("AWS_DEFAULT_REGION", "AWS_REGION")]
        if not present & {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"}:
            container["env"].append({"name": "AWS_ROLE_ARN", "value": role})
            container["env"].append({"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": f"{DIRECTORY}/token"})
        if not any(mount["name"] == VOLUME for mount in container.setdefault("volumeMounts", [])):
            container["volumeMounts"].append({"name": VOLUME, "mountPath": DIRECTORY, "readOnly": True})
    return out


class Webhook:
    """Serves on the node's address with a certificate the API server trusts. `annotations` looks a service account up."""

    def __init__(
        self, address: str, certificate: Path, key: Path, annotations: Callable[[str, str], dict[str, str]], region: str
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                request = review["request"]
                pod = request["object"]
                found = annotations(request["namespace"], pod["spec"].get("serviceAccountName", "default"))
                after = inject(pod, found, region)
                patch = [{"op": "replace", "path": "/spec", "value": after["spec"]}]
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

            def log_message(self, *_: object) -> None:
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
