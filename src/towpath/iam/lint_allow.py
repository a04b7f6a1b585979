"""Rules about permissions that are wider than they look."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from towpath.iam.context import EMPTY
from towpath.iam.lint_finding import GRANTING, Hit, Place, Rule, Severity
from towpath.iam.policy import PolicyKind

# Each of these alone lets its holder become whoever they like, when nothing limits on whom it may be used.
ESCALATING: Final = (
    "iam:AddUserToGroup",
    "iam:AttachGroupPolicy",
    "iam:AttachRolePolicy",
    "iam:AttachUserPolicy",
    "iam:CreateAccessKey",
    "iam:CreateLoginProfile",
    "iam:CreatePolicyVersion",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteUserPermissionsBoundary",
    "iam:PutGroupPolicy",
    "iam:PutRolePolicy",
    "iam:PutUserPolicy",
    "iam:SetDefaultPolicyVersion",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateLoginProfile",
)
# Conditions under which the permissions above no longer reach beyond what somebody chose.
_MITIGATING: Final = frozenset({"iam:permissionsboundary", "iam:policyarn"})
# Keys that say who or from where: a condition on one of them narrows a principal that is "*".
NARROWING: Final = frozenset(
    key.lower()
    for key in (
        "aws:PrincipalAccount",
        "aws:PrincipalArn",
        "aws:PrincipalOrgID",
        "aws:PrincipalOrgPaths",
        "aws:SourceAccount",
        "aws:SourceArn",
        "aws:SourceIp",
        "aws:SourceOrgID",
        "aws:SourceOrgPaths",
        "aws:SourceVpc",
        "aws:SourceVpcArn",
        "aws:SourceVpce",
        "aws:VpcSourceIp",
        "aws:VpceAccount",
        "aws:VpceOrgID",
        "aws:VpceOrgPaths",
        "aws:userid",
        "kms:CallerAccount",
        "kms:ViaService",
        "s3:DataAccessPointAccount",
        "s3:DataAccessPointArn",
        "sts:ExternalId",
        "lambda:FunctionUrlAuthType",
    )
)
_GUARDING: Final = NARROWING | {
    "aws:multifactorauthpresent",
    "aws:multifactorauthage",
    "aws:securetransport",
    "iam:passedtoservice",
}
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")


def allows_action(place: Place, action: str) -> bool:
    """Whether this Allow speaks of `action`, by name or by wildcard."""
    return (
        place.allows
        and place.statement.actions is not None
        and any(pattern.match(action, EMPTY) for pattern in place.statement.action_patterns)
    )


def on_every(place: Place, kind: str) -> bool:
    """Whether a resource of the statement is every IAM resource of a kind (role, user, …), or simply everything."""
    return any(
        text == "*" or re.fullmatch(rf"arn:[^:]*:(iam|\*):[^:]*:[^:]*:(\*|{kind}/\*)", text) is not None
        for text in place.statement.resources or ()
    ) or (place.statement.not_resources is not None)


def _everything(place: Place) -> Iterator[Hit]:
    if (
        place.allows
        and not place.statement.conditions
        and any(text in {"*", "*:*"} for text in place.statement.actions or ())
        and (place.statement.resources is None or "*" in place.statement.resources)
        and place.document.kind is PolicyKind.IDENTITY
    ):
        yield (
            place.path,
            "it allows every action on everything: whoever has it is the account's administrator",
            "name the actions a run needs: `towpath policy learn` finds them",
        )


def _whole_service(place: Place) -> Iterator[Hit]:
    if place.allows and "*" in (place.statement.resources or ()) and not place.statement.conditions:
        for path, text in place.texts("Action"):
            service, _, name = text.partition(":")
            if name == "*" and service != "*":
                yield (
                    path,
                    f"it allows all of {service} on every resource",
                    f"name actions, or the resources of {service}",
                )


def _not_action(place: Place) -> Iterator[Hit]:
    if place.allows and place.statement.not_actions is not None:
        yield (
            f"{place.path}.NotAction",
            "Allow with NotAction allows every action that is not in the list, those of services to come too",
            "list what is wanted under Action; to forbid something use Deny",
        )


def _not_resource(place: Place) -> Iterator[Hit]:
    if place.allows and place.statement.not_resources is not None:
        yield (
            f"{place.path}.NotResource",
            "Allow with NotResource allows every resource that is not in the list, those of other services too",
            "list what is wanted under Resource",
        )


def _pass_role(place: Place) -> Iterator[Hit]:
    if (
        allows_action(place, "iam:PassRole")
        and on_every(place, "role")
        and not place.condition_keys() & {"iam:passedtoservice", "iam:associatedresourcearn"}
        and "*" not in (place.statement.actions or ())
    ):
        yield (
            place.path,
            "iam:PassRole on every role: any role of the account, an administrator's too, can be given to a service that then acts with it",
            'name the role\'s ARN, and add {"StringEquals": {"iam:PassedToService": "SERVICE.amazonaws.com"}}',
        )


def _assume_any(place: Place) -> Iterator[Hit]:
    if (
        allows_action(place, "sts:AssumeRole")
        and on_every(place, "role")
        and "*" not in (place.statement.actions or ())
        and not place.statement.conditions
    ):
        yield (
            place.path,
            "sts:AssumeRole on every role: any role whose trust policy names the account can be taken on",
            "name the roles' ARNs",
        )


def _escalation(place: Place) -> Iterator[Hit]:
    if "*" in (place.statement.actions or ()) or place.condition_keys() & _MITIGATING:
        return
    found = [
        action
        for action in ESCALATING
        if allows_action(place, action)
        and (on_every(place, "role") or on_every(place, "user") or on_every(place, "policy"))
    ]
    if found:
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        yield (
            place.path,
            f"with {shown} on everything its holder can give themselves any permission",
            "name the resources, or require a boundary by the condition iam:PermissionsBoundary",
        )


def _public(place: Place) -> Iterator[Hit]:
    if not place.allows or place.condition_keys() & NARROWING:
        return
    for kind, name in place.statement.principals or ():
        if name == "*" and kind in {"*", "AWS"}:
            yield (
                f"{place.path}.Principal",
                "the principal is everybody, in every account, and no condition says from where",
                "name accounts or roles, or add a condition such as aws:PrincipalOrgID or aws:SourceAccount",
            )


def _deny_not_principal(place: Place) -> Iterator[Hit]:
    if not place.allows and place.statement.not_principals is not None:
        yield (
            f"{place.path}.NotPrincipal",
            "Deny with NotPrincipal also denies the sessions and the account of those it names, unless each is listed",
            'use Principal "*" with the condition {"ArnNotEquals": {"aws:PrincipalArn": ARN}}',
        )


def _bucket_prefix(place: Place) -> Iterator[Hit]:
    if not place.allows:
        return
    for path, text in place.texts("Resource"):
        match = re.fullmatch(r"arn:[^:]*:s3:::([^/*?$]+)[*?][^/]*(/.*)?", text)
        if match:
            yield (
                path,
                f"it also names every bucket that begins with {match[1]!r}, and anybody can create one: bucket names belong to all accounts",
                f"write {match[0].split(':::')[0]}:::{match[1]}/* for the objects of one bucket, and the bucket's ARN without * for itself",
            )


def _for_all_values(place: Place) -> Iterator[Hit]:
    for condition in place.conditions():
        if place.allows and condition.quantifier == "ForAllValues" and not place.requires(condition.key):
            yield (
                condition.path,
                f"ForAllValues is true when {condition.key} is not in the request at all",
                f'add {{"Null": {{"{condition.key}": "false"}}}}, or use ForAnyValue',
            )


def _passes_when_missing(place: Place) -> Iterator[Hit]:
    for condition in place.conditions():
        key = condition.key.lower()
        if not place.allows or not (key in _GUARDING or key.endswith((":sub", ":aud"))) or place.requires(key):
            continue
        if condition.if_exists:
            yield (
                condition.path,
                f"IfExists in an Allow: the condition holds when {condition.key} is not in the request",
                f"write {condition.written[: -len('IfExists')]}, or put the limit into a Deny",
            )
        elif condition.negated:
            yield (
                condition.path,
                f"{condition.written} in an Allow holds when {condition.key} is not in the request",
                f'add {{"Null": {{"{condition.key}": "false"}}}}, or put the limit into a Deny',
            )


def _mfa(place: Place) -> Iterator[Hit]:
    for condition in place.conditions():
        if (
            not place.allows
            and condition.operator == "Bool"
            and not condition.if_exists
            and condition.key.lower() == "aws:multifactorauthpresent"
            and "false" in condition.values
        ):
            yield (
                condition.path,
                "a request signed with a long-term access key has no such key, so this Deny lets it through",
                f'write "BoolIfExists": {{"{condition.key}": "false"}}',
            )


def _private_address(place: Place) -> Iterator[Hit]:
    networks = [ipaddress.IPv4Network(text) for text in _PRIVATE]
    for condition in place.conditions():
        if condition.key.lower() != "aws:sourceip" or not condition.operator.endswith("IpAddress"):
            continue
        for value in condition.values:
            network = ipaddress.ip_network(value, strict=False)
            if isinstance(network, ipaddress.IPv4Network) and any(network.subnet_of(each) for each in networks):
                yield (
                    condition.path,
                    f"{value} is private: AWS sees a public address here, and none at all through a VPC endpoint",
                    "use aws:VpcSourceIp together with aws:SourceVpc",
                )


_ELEMENT: Final = "IAM JSON policy elements: "
RULES: Final = (
    Rule(
        name="allow-everything",
        severity=Severity.ERROR,
        check=_everything,
        source="Security best practices in IAM",
        kinds=GRANTING,
    ),
    Rule(
        name="allow-whole-service",
        severity=Severity.NOTE,
        check=_whole_service,
        source="Security best practices in IAM",
        kinds=GRANTING,
    ),
    Rule(
        name="allow-not-action",
        severity=Severity.WARNING,
        check=_not_action,
        source=_ELEMENT + "NotAction",
        kinds=GRANTING,
    ),
    Rule(
        name="allow-not-resource",
        severity=Severity.WARNING,
        check=_not_resource,
        source=_ELEMENT + "NotResource",
        kinds=GRANTING,
    ),
    Rule(
        name="pass-any-role",
        severity=Severity.WARNING,
        check=_pass_role,
        source="Granting a user permissions to pass a role to an AWS service",
        kinds=GRANTING,
    ),
    Rule(
        name="assume-any-role",
        severity=Severity.WARNING,
        check=_assume_any,
        source="Granting a user permissions to switch roles",
        kinds=GRANTING,
    ),
    Rule(
        name="privilege-escalation",
        severity=Severity.WARNING,
        check=_escalation,
        source="Permissions boundaries for IAM entities: delegating responsibility to others",
        kinds=GRANTING,
    ),
    Rule(
        name="public-principal",
        severity=Severity.WARNING,
        check=_public,
        source=_ELEMENT + "Principal",
        kinds=frozenset({PolicyKind.RESOURCE}),
    ),
    Rule(
        name="trust-everybody",
        severity=Severity.ERROR,
        check=_public,
        source=_ELEMENT + "Principal",
        kinds=frozenset({PolicyKind.TRUST}),
    ),
    Rule(
        name="deny-not-principal",
        severity=Severity.WARNING,
        check=_deny_not_principal,
        source=_ELEMENT + "NotPrincipal",
    ),
    Rule(
        name="bucket-name-prefix",
        severity=Severity.WARNING,
        check=_bucket_prefix,
        source="Bucket naming rules (S3 User Guide)",
        kinds=GRANTING,
    ),
    Rule(
        name="for-all-values-allows-missing",
        severity=Severity.WARNING,
        check=_for_all_values,
        source="Single-valued vs. multivalued context keys",
        kinds=GRANTING,
    ),
    Rule(
        name="allows-when-missing",
        severity=Severity.WARNING,
        check=_passes_when_missing,
        source=_ELEMENT + "Condition operators",
        kinds=GRANTING,
    ),
    Rule(
        name="deny-without-mfa",
        severity=Severity.WARNING,
        check=_mfa,
        source="AWS global condition context keys: aws:MultiFactorAuthPresent",
    ),
    Rule(
        name="private-source-address",
        severity=Severity.WARNING,
        check=_private_address,
        source="AWS global condition context keys: aws:SourceIp",
    ),
)
