"""Whether the emulator can answer a service at all: each has Python packages of its own, and the sandbox installs four services'."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from towpath.sandbox.errors import AwsError
from towpath.sandbox.operations import Operation

# The emulator's module where it has another name than the one a service signs with.
MODULES: Final = {
    "lambda": "awslambda",
    "monitoring": "cloudwatch",
    "elasticmapreduce": "emr",
    "states": "stepfunctions",
    "redshift-data": "redshiftdata",
    "email": "ses",
    "cognito-idp": "cognitoidp",
    "tagging": "resourcegroupstaggingapi",
    "elasticloadbalancing": "elbv2",
}


def check(operation: Operation) -> None:
    """Raises AwsError NotImplemented, saying what to install, or that there is nothing to."""
    if operation.protocol == "smithy-rpc-v2-cbor":
        raise AwsError(
            "NotImplemented",
            f"This sandbox does not speak CBOR: let the client of {operation.service} use another protocol of the service.",
            501,
        )
    problem = _problem(MODULES.get(operation.service, operation.service.replace("-", "")))
    if problem:
        raise AwsError("NotImplemented", f"{operation.service}: {problem}", 501)


@lru_cache(maxsize=256)
def _problem(module: str) -> str:
    from moto import backends

    known: Any = backends.list_of_moto_modules()
    if module not in set(known):
        return "this sandbox's emulator does not have the service."
    try:
        backends.get_backend(module)  # pyright: ignore[reportArgumentType, reportCallIssue]
    except ImportError as error:
        return f"this sandbox's emulator needs a package more for it ({error.name}): install moto[{module}] beside towpath."
    return ""
