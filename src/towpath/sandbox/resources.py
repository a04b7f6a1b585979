"""What a call outside S3 needs: permissions, each an action on a resource, and on the roles it hands to a service.

Source: the Service Authorization Reference's tables. What no table knows is judged on "*": a policy that allows it only on certain
ARNs then does not allow it, which errs on the side of refusing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from towpath.sandbox import iam_resources, request_tags, service_models, services
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.operations import MODELS, Operation
from towpath.sandbox.s3_operations import Need

_ROLE: Final = re.compile(r"arn:[a-z-]+:iam::(?P<account>\d{12}):role/(?:.*/)?(?P<name>[^/]+)")


def needs(operation: Operation, *, account: str, region: str, state: IamState) -> tuple[Need, ...]:
    """Every permission the call needs, its own first. Raises AwsError for a resource or role of another account."""
    if operation.service == "iam":
        own = iam_resources.needs(operation, account=account, state=state)
    elif operation.service == "sts":
        own = _sts(operation)
    else:
        context = request_tags.of_parameters(operation.parameters)
        own = tuple(
            Need(action=operation.action, resource=resource, context=context)
            for resource in _resources(operation, account=account, region=region, partition=state.partition)
        )
    return (*own, *_passed(operation, account=account, state=state))


def _sts(operation: Operation) -> tuple[Need, ...]:
    """For the record: STS asks for each of these itself, with the condition keys it knows."""
    resource = str(operation.parameters.get("RoleArn", "*"))
    actions = [operation.action]
    if any(name.startswith("Tags.") for name in operation.parameters):
        actions.append("sts:TagSession")
    if "SourceIdentity" in operation.parameters:
        actions.append("sts:SetSourceIdentity")
    return tuple(Need(action=action, resource=resource) for action in actions)


def _resources(operation: Operation, *, account: str, region: str, partition: str) -> list[str]:
    row = services.table(operation.service)
    start = f"arn:{partition}:{row.namespace}:{region}:{account}:"
    parameters = _known(operation)
    for template in row.templates(operation.name):
        parts = [services.filled(part, parameters) for part in template]
        if all(parts):
            found = [_arn(text, start, operation) for part in parts for text in part]
            for arn in found:
                _own_account(arn, account, operation)
            return list(dict.fromkeys(found))
    return ["*"]


def _known(operation: Operation) -> Mapping[str, Any]:
    """Only what the operation has: a parameter the service does not look at must not say what the call acts on."""
    model = service_models.source(MODELS.get(operation.service, operation.service))
    found = model["operations"].get(operation.name, {}).get("input") if model is not None else None
    members = model["shapes"][found["shape"]]["members"] if model is not None and found else {}
    return {name: value for name, value in operation.parameters.items() if name in members}


def _arn(text: str, start: str, operation: Operation) -> str:
    if text.startswith("arn:"):
        return text
    if operation.service == "sqs" and "://" in text:  # a queue's URL ends with account and name
        account, _, name = text.partition("://")[2].partition("/")[2].rpartition("/")
        return start.rpartition(":")[0].rpartition(":")[0] + f":{account.rpartition('/')[2]}:{name}"
    if operation.service == "kms" and text.startswith("key/alias/"):
        return "*"  # the key behind an alias is the resource, and only KMS knows it
    if operation.service == "ssm":
        text = re.sub("^parameter/+", "parameter/", text)
    return start + text


def _own_account(arn: str, account: str, operation: Operation) -> None:
    """No service behind this gate but S3 has policies on its resources, so another account's can have allowed nothing."""
    parts = arn.split(":")
    if len(parts) > 4 and re.fullmatch(r"\d{12}", parts[4]) and parts[4] != account:
        raise AwsError(
            "AccessDeniedException",
            f"Cross-account access to {arn[:300]} is not allowed: no resource-based policy allows the {operation.action} action",
            403,
        )


def _passed(operation: Operation, *, account: str, state: IamState) -> Iterator[Need]:
    """iam:PassRole for each role the call hands to a service ("Grant a user permissions to pass a role", IAM User Guide)."""
    for parameter, principal in services.table(operation.service).pass_role.get(operation.name, ()):
        for value in services.values(parameter, operation.parameters):
            match = _ROLE.fullmatch(value)
            if match is not None and match["account"] != account:
                raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.", 403)
            # Some services take a role's bare name; its path is IAM's to say.
            arn = (
                value
                if match
                else state.role_names(account).get(value.lower(), f"arn:{state.partition}:iam::{account}:role/{value}")
            )
            yield Need(action="iam:PassRole", resource=arn, context={"iam:PassedToService": principal})
