"""IAM calls on oneself: where UserName may be left out, IAM takes the user whose key signed the call."""

from __future__ import annotations

from dataclasses import replace

from towpath.sandbox import service_models
from towpath.sandbox.errors import AwsError
from towpath.sandbox.operations import Operation
from towpath.sandbox.principals import Principal


def named(operation: Operation, principal: Principal) -> Operation:
    """The same call with the caller's name in it, where that is what it means. Raises AwsError when the caller is no user."""
    if operation.service != "iam" or "UserName" in operation.parameters or not _may_be_left_out(operation.name):
        return operation
    if principal.user is None:
        raise AwsError("ValidationError", "Must specify userName when calling with non-User credentials", 400)
    return replace(operation, parameters={**operation.parameters, "UserName": principal.user})


def _may_be_left_out(operation: str) -> bool:
    model = service_models.source("iam")
    if model is None or "input" not in model["operations"][operation]:
        return False
    shape = model["shapes"][model["operations"][operation]["input"]["shape"]]
    return "UserName" in shape["members"] and "UserName" not in shape.get("required", ())
