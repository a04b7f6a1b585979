"""Rules about names: services, actions, condition keys that nobody knows, and the one that is probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from towpath.iam import s3_actions
from towpath.iam.context import EMPTY
from towpath.iam.lint_finding import Hit, Place, Rule, Severity
from towpath.iam.matching import compile_pattern

# "AWS global condition context keys", IAM User Guide; those with a slash take any name after it.
_GLOBAL = """
    AssumedRoot CalledVia CalledViaAWSMCP CalledViaFirst CalledViaLast ChatbotSourceArn CurrentTime Ec2InstanceSourcePrivateIPv4
    Ec2InstanceSourceVpc EpochTime FederatedProvider IsMcpServiceAction MultiFactorAuthAge MultiFactorAuthPresent PrincipalAccount
    PrincipalArn PrincipalIsAWSService PrincipalOrgID PrincipalOrgPaths PrincipalServiceName PrincipalServiceNamesList PrincipalType
    RequestedRegion ResourceAccount ResourceOrgID ResourceOrgPaths SecureTransport SignInSessionArn SourceAccount SourceArn
    SourceIdentity SourceIp SourceOrgID SourceOrgPaths SourceOwner SourceVpc SourceVpcArn SourceVpce TagKeys TokenIssueTime UserAgent
    ViaAWSMCPService ViaAWSService VpcSourceIp VpceAccount VpceOrgID VpceOrgPaths referer userid username
"""
GLOBAL_KEYS: Final = frozenset(f"aws:{name}" for name in _GLOBAL.split())
GLOBAL_PREFIXES: Final = ("aws:PrincipalTag/", "aws:RequestTag/", "aws:ResourceTag/")
# Actions that are permissions only: no operation of the service has their name ("actions defined by …", Service Authorization Reference).
_PERMISSIONS: Final = frozenset(
    name.lower()
    for name in (
        "iam:PassRole",
        "sts:GetServiceBearerToken",
        "sts:SetContext",
        "sts:SetSourceIdentity",
        "sts:TagSession",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
        "kms:SynchronizeMultiRegionKey",
        "lambda:InvokeFunction",
        "lambda:InvokeFunctionUrl",
        "dynamodb:ConditionCheckItem",
        "dynamodb:PartiQLDelete",
        "dynamodb:PartiQLInsert",
        "dynamodb:PartiQLSelect",
        "dynamodb:PartiQLUpdate",
        "glue:PassConnection",
        "glue:UseMLTransforms",
    )
)


def _unknown_service(place: Place) -> Iterator[Hit]:
    if place.catalogue is None:
        return
    known = place.catalogue.services()
    for path, text in _actions(place):
        service = text.partition(":")[0].lower()
        if text != "*" and service not in known and not set("*?") & set(service):
            near = _near(service, known, 0.7)
            yield (
                path,
                f"no service has the prefix {service!r}",
                f"write {near}:" if near else "look the prefix up in the Service Authorization Reference",
            )


def _unknown_action(place: Place) -> Iterator[Hit]:
    """What has no operation of its name but one nearly so. Of S3 every action is known, so there it is a rule of its own."""
    for path, text, near in _without_operation(place):
        if near:
            yield path, f"no operation has the name {text}", f"write {near}"


def _action_without_operation(place: Place) -> Iterator[Hit]:
    for path, text, near in _without_operation(place):
        if not near:
            yield (
                path,
                f"no operation has the name {text}; it may be a permission only",
                "look it up in the Service Authorization Reference",
            )


def _without_operation(place: Place) -> Iterator[tuple[str, str, str]]:
    if place.catalogue is None:
        return
    for path, text in _actions(place):
        service, _, name = text.partition(":")
        service = service.lower()
        if service == "s3" or set("*?") & set(service) or text.lower() in _PERMISSIONS:
            continue
        operations = place.catalogue.operations(service)
        if operations is None or _matches_any(name, operations):
            continue
        if set("*?") & set(name) and any(
            compile_pattern(text, variables=False, fold=True).match(each, EMPTY) for each in _PERMISSIONS
        ):
            continue
        near = _slip(name, operations)
        yield path, text, f"{service}:{near}" if near else ""


def _unknown_s3_action(place: Place) -> Iterator[Hit]:
    for path, text in _actions(place):
        service, _, name = text.partition(":")
        if service.lower() != "s3" or _matches_any(name, s3_actions.ALL):
            continue
        permits = next(
            (action for operation, action in s3_actions.OPERATIONS.items() if operation.lower() == name.lower()), None
        )
        if permits:
            yield (
                path,
                f"{text} is an operation, not an action, so it matches nothing",
                f"write s3:{permits}, which permits it",
            )
        else:
            near = _near(name, s3_actions.ALL, 0.6)
            yield path, f"S3 has no action {text}, so it matches nothing", f"write s3:{near}" if near else "take it out"


def _unknown_key(place: Place) -> Iterator[Hit]:
    folded = {key.lower() for key in GLOBAL_KEYS}
    for condition in place.conditions():
        key = condition.key
        if not key.lower().startswith("aws:") or key.lower() in folded:
            continue
        if any(key.lower().startswith(prefix.lower()) for prefix in GLOBAL_PREFIXES):
            continue
        near = _near(key, [*GLOBAL_KEYS, *(f"{prefix}NAME" for prefix in GLOBAL_PREFIXES)], 0.7)
        yield (
            condition.path,
            f"{key} is no global condition key, so no request has it",
            f"write {near}" if near else "look it up under AWS global condition context keys",
        )


def _malformed_key(place: Place) -> Iterator[Hit]:
    for condition in place.conditions():
        if ":" not in condition.key:
            near = _near(f"aws:{condition.key}", GLOBAL_KEYS, 0.8)
            yield (
                condition.path,
                f"{condition.key!r} is no condition key: a key has a prefix and a colon, so no request has it",
                f"write {near}" if near else "write it as aws:SourceIp, or with the service's prefix",
            )
        elif condition.key.lower().startswith("https:"):
            yield (
                condition.path,
                f"{condition.key} begins with a scheme, which no condition key does",
                f"write {condition.key[8:]}",
            )


def _actions(place: Place) -> Iterator[tuple[str, str]]:
    yield from place.texts("Action")
    yield from place.texts("NotAction")


def _matches_any(name: str, known: Iterable[str]) -> bool:
    pattern = compile_pattern(name, variables=False, fold=True)
    return any(pattern.match(each, EMPTY) for each in known)


def _near(text: str, known: Iterable[str], cutoff: float) -> str:
    """The known name that is most like it, whatever the case; "" when none is near."""
    by_fold = {each.lower(): each for each in known}
    found = difflib.get_close_matches(text.lower().strip("*?"), sorted(by_fold), n=1, cutoff=cutoff)
    return by_fold[found[0]] if found else ""


def _slip(name: str, operations: Iterable[str]) -> str:
    """The operation that `name` is a slip of the pen for: the same verb, a letter or two apart. Neighbours such as Get and Put are none."""
    near = _near(name, operations, 0.88)
    verb = re.match(r"[A-Z]?[a-z]+", name)
    return (
        near if near and verb and near.lower().startswith(verb[0].lower()) and abs(len(near) - len(name)) <= 2 else ""
    )


RULES: Final = (
    Rule(
        name="unknown-service",
        severity=Severity.WARNING,
        check=_unknown_service,
        source="Service Authorization Reference",
    ),
    Rule(
        name="unknown-s3-action",
        severity=Severity.ERROR,
        check=_unknown_s3_action,
        source="Actions, resources, and condition keys for Amazon S3",
    ),
    Rule(
        name="unknown-action",
        severity=Severity.WARNING,
        check=_unknown_action,
        source="Service Authorization Reference",
    ),
    Rule(
        name="action-without-operation",
        severity=Severity.NOTE,
        check=_action_without_operation,
        source="Service Authorization Reference",
    ),
    Rule(
        name="unknown-global-key",
        severity=Severity.WARNING,
        check=_unknown_key,
        source="AWS global condition context keys",
    ),
    Rule(
        name="malformed-key",
        severity=Severity.ERROR,
        check=_malformed_key,
        source="IAM JSON policy elements: Condition",
    ),
)
