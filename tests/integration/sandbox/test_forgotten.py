"""Every parameter of IAM's and EKS's models is read by who carries the operation out, or refused: nothing is taken and forgotten.

That it is read is found in the emulator's source; that what is read is also kept, test_iam_kept.py tries.
"""

from __future__ import annotations

import importlib
import inspect
from contextlib import suppress
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from towpath.sandbox import client_ids, emulator_iam, service_models
from towpath.sandbox.forgotten import FORGOTTEN

from .conftest import World
from .test_every_operation import operations, value

CLASSES = {"iam": ("moto.iam.responses", "IamResponse"), "eks": ("moto.eks.responses", "EKSResponse")}
# What is read elsewhere, and where; or means nothing here, and why.
ELSEWHERE = {
    ("iam", "CreateUser", "PermissionsBoundary"): "emulator_iam",
    ("iam", "CreateLoginProfile", "PasswordResetRequired"): "emulator_iam",
    ("iam", "DeleteAccountAlias", "AccountAlias"): "creation.deletion",
    ("iam", "ListGroups", "PathPrefix"): "emulator_iam",
    ("iam", "ListInstanceProfiles", "PathPrefix"): "emulator_iam",
    ("iam", "ListServerCertificates", "PathPrefix"): "not there: lists all",
    ("iam", "GetSSHPublicKey", "Encoding"): "not there: given back as it was uploaded",
    ("iam", "GetServiceLinkedRoleDeletionStatus", "DeletionTaskId"): "not there: every deletion succeeded",
    ("eks", "ListClusters", "include"): "not there: no connected clusters",
}
OF_THE_PATH = {"clusterName", "resourceArn"}
OF_PAGES = {"Marker", "MaxItems"}  # the answer is whole instead, with IsTruncated false
# Operations of ours, where the emulator has none.
OURS = {"iam": set(client_ids.OPERATIONS), "eks": set[str]()}


def emulated(service: str) -> Any:
    """As the sandbox changes it, which is at the first call."""
    emulator_iam.install()
    module, name = CLASSES[service]
    return getattr(importlib.import_module(module), name)


def method(service: str, operation: str) -> Any:
    to_method: Any = importlib.import_module("moto.core.utils").camelcase_to_underscores
    found = getattr(emulated(service), to_method(operation), None)
    return found and inspect.unwrap(found)


def members(service: str, operation: str) -> set[str]:
    model = service_models.source(service)
    assert model is not None
    shape = model["operations"][operation].get("input", {}).get("shape")
    return set(model["shapes"][shape]["members"]) if shape else set()


@pytest.mark.parametrize("service", CLASSES)
def test_no_parameter_is_left_unread(world: World, service: str) -> None:
    assert world  # the emulator is as the sandbox changed it
    unread: set[tuple[str, str, str]] = set()
    for operation in operations(service):
        found = method(service, operation)
        if found is None:
            continue
        source = "\n".join(line for line in inspect.getsource(found).splitlines() if not line.strip().startswith("#"))
        own = inspect.getmodule(found)
        assert own is not None
        for name in members(service, operation) - OF_PAGES - OF_THE_PATH:
            constant = "BOUNDARY" if name == "PermissionsBoundary" and own.__name__.startswith("towpath.") else name
            if f'"{name}"' not in source and f"{constant})" not in source:
                unread.add((service, operation, name))
    refused = {(service, operation, name) for operation, names in FORGOTTEN[service].items() for name in names}
    listed = {key for key in ELSEWHERE if key[0] == service}
    assert unread - refused - listed == set()
    assert unread, "the reading finds nothing at all"


@pytest.mark.parametrize("service", CLASSES)
def test_table_names_parameters(service: str) -> None:
    for operation, names in FORGOTTEN[service].items():
        assert names <= members(service, operation), operation


def arguments(service: str, operation: str, *also: str) -> dict[str, Any]:
    model = service_models.source(service)
    assert model is not None
    shape = model["operations"][operation].get("input", {}).get("shape")
    every = value(model["shapes"], shape, operation) if shape else {}
    required = model["shapes"][shape].get("required", ()) if shape else ()
    return {key: every[key] for key in (*required, *also)}


@pytest.mark.parametrize(
    ("service", "operation", "name"),
    [
        (service, operation, name)
        for service, rows in FORGOTTEN.items()
        for operation in rows
        for name in sorted(rows[operation])
    ],
)
def test_what_would_be_forgotten_is_refused(world: World, service: str, operation: str, name: str) -> None:
    call = getattr(world.client(service), xform_name(operation))
    given = arguments(service, operation, name)
    if name == "RemovePrivateKey":
        given[name] = "K" * 22
    if "clusterName" in given:
        given["clusterName"] = "sandbox"
    with pytest.raises(ClientError) as caught:
        call(**given)
    assert caught.value.response["Error"]["Code"] == "NotImplemented"
    assert caught.value.response["Error"]["Message"] == f"This sandbox would forget {name} of {operation}."
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    # Without it the same call is not refused for that.
    with suppress(ClientError):
        call(**{key: each for key, each in given.items() if key != name})
    assert world.sandbox.record.after(0)[-1].code != "NotImplemented"


@pytest.mark.parametrize("service", CLASSES)
def test_operation_that_nobody_carries_out_says_so(world: World, service: str) -> None:
    client = world.client(service)
    missing = [name for name in operations(service) if method(service, name) is None and name not in OURS[service]]
    assert missing
    other: list[str] = []
    for operation in missing:
        given = arguments(service, operation)
        if "clusterName" in given:
            given["clusterName"] = "sandbox"
        try:
            getattr(client, xform_name(operation))(**given)
            other.append(f"{operation}: answered")
        except ClientError as error:
            if error.response["Error"]["Code"] not in {
                "NotImplemented",
                "ValidationError",
            }:  # not well formed, for some
                other.append(f"{operation}: {error.response['Error']}")
    assert not other, "\n".join(other)
