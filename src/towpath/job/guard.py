"""Who am I? Asked before a single byte of the source is read.

An SDK takes the first credentials it finds: static keys in the environment come before web identity, and behind it waits the node's
own role. So the AWS part of the environment is an allow-list, and the caller's identity must be the one that was asked for.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from towpath.chain import words
from towpath.chain.finding import Finding, LinkName
from towpath.errors import WorldError
from towpath.iam import arn as arns
from towpath.iam import partition as partitions
from towpath.job.attempt import AttemptSpec

REQUIRED: Final = (
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_REGION",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_EC2_METADATA_DISABLED",
)
EMPTY_FILES: Final = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
STATIC_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
GUARDED: Final = ("AWS_", "TOWPATH_SANDBOX_", "BOTO_")


class GuardRefusal(WorldError):
    """The job is not who it should be, or could be somebody else; `finding` is what doctor would say."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(
            finding.message, where=f"guard, link {finding.link}", todo=finding.fix.towpath or finding.fix.command
        )
        self.finding = finding


def guard(spec: AttemptSpec, environ: Mapping[str, str] | None = None, *, now: float | None = None) -> str:
    """The caller's ARN, when it is the expected role's and nothing else could be. Raises GuardRefusal."""
    found = os.environ if environ is None else environ
    finding = check_environment(spec, found) or check_token(spec, found, now=now)
    if finding is not None:
        raise GuardRefusal(finding)
    return check_identity(spec)


def check_environment(spec: AttemptSpec, environ: Mapping[str, str]) -> Finding | None:
    """The first variable that should not be there, is missing, or says something else than it must. No value is repeated."""
    operator = {"AWS_ENDPOINT_URL": spec.endpoint_url, "AWS_CA_BUNDLE": spec.ca_bundle}
    for name in sorted(environ):
        if not name.startswith(GUARDED):
            continue
        if name in STATIC_KEYS:
            return _refuse(
                "guard.static-key",
                f"{name} is set: a static key comes before web identity, and would be used instead",
                name,
                34,
            )
        if operator.get(name) is not None:
            if environ[name] != operator[name]:
                return _refuse("guard.endpoint", f"{name} differs from what the operator set", name, 55)
        elif name not in (*REQUIRED, *EMPTY_FILES):
            return _refuse("guard.environment", f"{name} is not on the list of variables a job may have", name, 34)
    for name in (*REQUIRED, *EMPTY_FILES):
        if not environ.get(name):
            row = 54 if name == "AWS_REGION" else 26
            return _finding(
                "guard.missing",
                f"{name} is not set",
                f"environment without {name}",
                "launch the job through the agent, which sets it",
                LinkName.INJECTION,
                row,
            )
    expected = {
        "AWS_ROLE_ARN": spec.role_arn,
        "AWS_REGION": spec.region,
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in expected.items():
        if environ[name] != value:
            return _finding(
                "guard.value",
                f"{name} is not {value}",
                f"{name}={environ[name][:200]}",
                f"set {name}={value}",
                LinkName.INJECTION,
                32,
            )
    for name in EMPTY_FILES:
        try:
            if Path(environ[name]).stat().st_size:
                return _refuse(
                    "guard.profile",
                    f"{name} names a file that is not empty: a profile in it could win over web identity",
                    name,
                    34,
                )
        except OSError:
            return _finding(
                "guard.profile",
                f"{name} names a file that cannot be read",
                environ[name][:200],
                "point it at an empty file",
                LinkName.INJECTION,
                34,
            )
    return None


def check_token(spec: AttemptSpec, environ: Mapping[str, str], *, now: float | None = None) -> Finding | None:
    """Whether the token file holds a service account's token for STS that has not expired. Its signature is STS's to check."""
    path = environ["AWS_WEB_IDENTITY_TOKEN_FILE"]
    moment = time.time() if now is None else now
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except PermissionError:
        return _finding(
            "guard.token-permission",
            "the token file cannot be read by this user",
            path,
            "set fsGroup in the pod's securityContext",
            LinkName.INJECTION,
            30,
        )
    except (OSError, UnicodeDecodeError):
        return _finding(
            "guard.token-file",
            "there is no token in the token file",
            path,
            "mount the projected service account token there; recreate the pod",
            LinkName.INJECTION,
            26,
        )
    try:
        payload: Any = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        audience = payload.get("aud")
        subject, expires = payload["sub"], float(payload["exp"])
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return _finding(
            "guard.token-format",
            "the token file does not hold a JSON web token",
            path,
            "recreate the pod, so that the kubelet writes a fresh one",
            LinkName.INJECTION,
            12,
        )
    wanted = spec.audience or partitions.of_region(spec.region).sts_audience
    audiences = [audience] if isinstance(audience, str) else list(audience or ())
    if wanted not in audiences:
        return _finding(
            "guard.token-audience",
            f"the token is for {', '.join(map(str, audiences)) or 'nobody'}, not for {wanted}",
            f"sub {subject}",
            f"project the token with audience {wanted}",
            LinkName.INJECTION,
            6,
        )
    if expires <= moment:
        return _finding(
            "guard.token-expired",
            f"the token expired {moment - expires:.0f} s ago",
            f"sub {subject}",
            "read the file again for each exchange; if it stays old, recreate the pod",
            LinkName.INJECTION,
            13,
        )
    return None


def check_identity(spec: AttemptSpec) -> str:
    """A real exchange and GetCallerIdentity at the regional endpoint. Raises GuardRefusal unless it is the expected role."""
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    session: Any = botocore.session.Session()
    client = session.create_client(
        "sts",
        region_name=spec.region,
        config=Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=5, read_timeout=10),
    )
    try:
        arn = str(client.get_caller_identity()["Arn"])
    except ClientError as error:
        detail: Mapping[str, Any] = error.response.get("Error", {})
        code, message = str(detail.get("Code", "")), str(detail.get("Message", ""))
        row = {
            "InvalidIdentityToken": 1,
            "ExpiredTokenException": 13,
            "IDPCommunicationError": 8,
            "ValidationError": 15,
        }.get(code, 16)
        raise GuardRefusal(
            _finding(
                "guard.exchange",
                f"AWS refused the exchange: {code}: {message}",
                f"role {spec.role_arn}",
                "towpath identity doctor names the broken link",
                LinkName.EXCHANGE,
                row,
            )
        ) from None
    except BotoCoreError as error:
        raise GuardRefusal(
            _finding(
                "guard.sts",
                f"STS cannot be reached: {error}",
                f"region {spec.region}",
                "open the regional STS endpoint to the pod (a VPC endpoint in a private network)",
                LinkName.EXCHANGE,
                36,
            )
        ) from None
    if not same_role(arn, spec.role_arn):
        raise GuardRefusal(
            _finding(
                "guard.identity",
                f"this job runs as {arn}, not under {spec.role_arn}",
                arn,
                "find what provides other credentials: towpath identity doctor",
                LinkName.EXCHANGE,
                34,
            )
        )
    return arn


def same_role(session_arn: str, role_arn: str) -> bool:
    """Whether an assumed-role session is of that role: partition, account and name. A session's ARN carries no path."""
    try:
        session, role = arns.Arn.parse(session_arn), arns.Arn.parse(role_arn)
    except arns.ArnError:
        return False
    parts = session.resource.split("/")
    return (
        session.service == "sts"
        and len(parts) == 3
        and parts[0] == "assumed-role"
        and parts[1] == role.resource_name
        and (session.partition, session.account) == (role.partition, role.account)
    )


def _refuse(code: str, message: str, name: str, row: int) -> Finding:
    return _finding(
        code,
        message,
        f"environment variable {name} (its value is not shown)",
        f"remove {name} from the job's environment, image and envFrom",
        LinkName.INJECTION,
        row,
    )


def _finding(code: str, message: str, evidence: str, command: str, link: LinkName, row: int) -> Finding:
    return words.error(code, link, message, evidence=evidence, command=command, row=row)
