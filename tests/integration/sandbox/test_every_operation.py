"""Every operation of IAM, STS and EKS with parameters that are well formed and name nothing that exists: an answer of AWS's, never a 500."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from towpath.sandbox import service_models

from .conftest import World
from .test_sts import policy

TEXTS = {
    "AssumeRolePolicyDocument": '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}',
    "PolicyDocument": policy({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}),
    "PermissionsBoundary": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
    "PolicyArn": "arn:aws:iam::123456789012:policy/nothing-is-called-so",
    "RoleArn": "arn:aws:iam::123456789012:role/nothing-is-called-so",
    "Path": "/",
    "PathPrefix": "/",
    "NewPath": "/",
    "Url": "https://issuer.example/id/nothing",
    "SubjectType": "x",
}


def operations(service: str) -> list[str]:
    model = service_models.source(service)
    assert model is not None
    return sorted(model["operations"])


def value(shapes: dict[str, Any], name: str, member: str, deep: int = 0) -> Any:
    """Something of the shape that its own constraints allow."""
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        members = shape.get("required", ()) if deep else shape["members"]
        return {key: value(shapes, shape["members"][key]["shape"], key, deep + 1) for key in members if deep < 4}
    if kind == "list":
        return [value(shapes, shape["member"]["shape"], member, deep + 1)]
    if kind == "map":
        return {"k": value(shapes, shape["value"]["shape"], member, deep + 1)}
    if kind == "boolean":
        return False
    if kind in {"integer", "long", "double", "float"}:
        return max(shape.get("min", 1), 1)
    if kind == "timestamp":
        return 1_700_000_000
    if kind == "blob":
        return b"x"
    if "enum" in shape:
        return shape["enum"][0]
    text = TEXTS.get(member, "nothing-is-called-so")
    if "Arn" in member and not text.startswith("arn:"):
        text = "arn:aws:iam::123456789012:oidc-provider/nothing.example/x"
    return text.ljust(shape.get("min", 0), "x")[: shape.get("max", 10_000)]


@pytest.mark.parametrize("service", ["iam", "sts", "eks"])
def test_no_operation_ends_in_an_internal_failure(world: World, service: str) -> None:
    model = service_models.source(service)
    assert model is not None
    client = world.client(service)
    broken: list[str] = []
    from botocore import xform_name

    for name in operations(service):
        shape = model["operations"][name].get("input", {}).get("shape")
        every = value(model["shapes"], shape, name) if shape else {}
        required = model["shapes"][shape].get("required", ()) if shape else ()
        for arguments in (every, {key: every[key] for key in required}):
            try:
                getattr(client, xform_name(name))(**arguments)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 500:
                    last = world.sandbox.record.as_json()[-1]
                    broken.append(f"{name}({', '.join(arguments)}): {last['why']}")
    assert not broken, "\n".join(broken)
