"""What PutBucketPolicy takes, in S3's own words when it does not; and which policies are public.

Sources: "Bucket policies for Amazon S3" (size), "The meaning of 'public'" in "Blocking public access to your Amazon S3 storage" (S3
User Guide); the texts are those S3 answers with, as they are quoted in public issue threads.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from towpath.errors import UsageError
from towpath.iam import grammar, s3_actions
from towpath.iam.conditions import CompiledCondition
from towpath.iam.document import parse_json
from towpath.iam.matching import wildcard_regex
from towpath.iam.policy import PolicyDocument, PolicyError, PolicyKind, Statement, parse_policy
from towpath.sandbox.errors import AwsError

LARGEST: Final = 20_480  # bytes of the document without white space
_ELEMENTS: Final = ("Effect", ("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource"))
_KNOWN: Final = {**dict.fromkeys(s3_actions.BUCKET, "bucket"), **dict.fromkeys(s3_actions.OBJECT, "object")}
_ENTITY: Final = re.compile(r"arn:[a-z-]+:iam::(?P<account>[0-9]{12}):(?P<kind>role|user)/(?:\S+/)?(?P<name>\S+)")
_PRINCIPAL: Final = re.compile(
    r"\*|[0-9]{12}"
    r"|arn:[a-z-]+:iam::[0-9]{12}:(?:root|role/\S+|user/\S+)"
    r"|arn:[a-z-]+:sts::[0-9]{12}:(?:assumed-role/[^/\s]+/[^/\s]+|federated-user/\S+)"
    r"|arn:[a-z-]+:iam::cloudfront:user/CloudFront Origin Access Identity [A-Z0-9]+"
)
# Condition keys that tie a statement to fixed values, so that it is not public.
_FIXING: Final = frozenset(
    [
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    ]
)

# Every condition key of S3's own but those that end in a tag's key.
_KEY_NAMES = """
    s3:accessgrantsinstancearn s3:accesspointnetworkorigin s3:authtype s3:dataaccesspointaccount s3:dataaccesspointarn s3:delimiter
    s3:destinationregion s3:if-match s3:if-none-match s3:inventoryaccessibleoptionalfields s3:isreplicationpauserequest
    s3:locationconstraint s3:max-keys s3:object-lock-legal-hold s3:object-lock-mode s3:object-lock-remaining-retention-days
    s3:object-lock-retain-until-date s3:objectcreationoperation s3:prefix s3:requestobjecttagkeys s3:resourceaccount s3:signatureage
    s3:signatureversion s3:tlsversion s3:versionid s3:x-amz-acl s3:x-amz-content-sha256 s3:x-amz-copy-source
    s3:x-amz-grant-full-control s3:x-amz-grant-read s3:x-amz-grant-read-acp s3:x-amz-grant-write s3:x-amz-grant-write-acp
    s3:x-amz-metadata-directive s3:x-amz-object-ownership s3:x-amz-server-side-encryption
    s3:x-amz-server-side-encryption-aws-kms-key-id s3:x-amz-server-side-encryption-customer-algorithm s3:x-amz-storage-class
    s3:x-amz-website-redirect-location
"""
_KEYS: Final = frozenset(_KEY_NAMES.split())
_TAG_KEYS: Final = ("s3:buckettag/", "s3:existingobjecttag/", "s3:requestobjecttag/")

Exists = Callable[[str, str, str], bool]  # account, "role" or "user", name -> is there one?


def validate(body: bytes, *, bucket: str, partition: str, exists: Exists) -> PolicyDocument:
    """The policy of `bucket`, parsed. Raises AwsError MalformedPolicy with S3's text for the first fault found."""
    if not body.startswith(b"{"):
        raise _malformed("Policies must be valid JSON and the first byte must be '{'")
    try:
        source = parse_json(body, name="bucket policy")
    except (PolicyError, UsageError) as error:
        raise _malformed("This policy contains invalid Json", why=str(error)) from None
    if len(json.dumps(source, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")) > LARGEST:
        raise AwsError(
            "MalformedPolicy", f"Normalized policy document exceeds the maximum allowed size of {LARGEST} bytes", 400
        )
    if source.get("Version", "2008-10-17") not in grammar.VERSIONS:
        raise _malformed("The policy must contain a valid version string")
    if "Statement" not in source:
        raise _malformed("Missing required field Statement")
    raw = source["Statement"]
    statements = cast("list[object]", raw) if isinstance(raw, list) else [raw]
    if not statements:
        raise _malformed("Could not parse the policy: Statement is empty!")
    for statement in statements:
        if not isinstance(statement, Mapping):
            raise _malformed("Invalid policy syntax.")
        _fields(cast("Mapping[str, Any]", statement))
        _principals(cast("Mapping[str, Any]", statement), exists)
    try:
        document = parse_policy(source, kind=PolicyKind.RESOURCE, name=f"bucket policy of {bucket}")
    except PolicyError as error:
        raise _malformed(_words(error), why=str(error)) from None
    for statement in document.statements:
        _actions_and_resources(statement, bucket, partition)
        for condition in statement.conditions:
            if condition.folded.startswith("s3:") and not (
                condition.folded in _KEYS or condition.folded.startswith(_TAG_KEYS)
            ):
                raise _malformed("Policy has an invalid condition key", why=f"{condition.key[:80]} is none of S3's")
    return document


def _fields(statement: Mapping[str, Any]) -> None:
    for wanted in _ELEMENTS:
        names = (wanted,) if isinstance(wanted, str) else wanted
        if not any(name in statement for name in names):
            raise _malformed(f"Missing required field {names[0]}")
    if statement["Effect"] not in {"Allow", "Deny"}:
        raise _malformed(f"Invalid effect: {str(statement['Effect'])[:40]}")


def _principals(statement: Mapping[str, Any], exists: Exists) -> None:
    """S3 takes no principal that does not exist."""
    value = statement.get("Principal", statement.get("NotPrincipal"))
    if value == "*":
        return
    if not isinstance(value, Mapping) or not value or ("NotPrincipal" in statement and statement["Effect"] == "Allow"):
        raise _malformed("Invalid principal in policy")
    for kind, names in cast("Mapping[str, object]", value).items():
        items = cast("list[object]", names) if isinstance(names, list) else [names]
        if kind not in {"AWS", "Service", "CanonicalUser", "Federated"} or not items:
            raise _malformed("Invalid principal in policy", why=f"{kind} is no type of principal here")
        for name in items:
            if not isinstance(name, str) or (kind == "AWS" and not _PRINCIPAL.fullmatch(name)):
                raise _malformed("Invalid principal in policy", why=f"{name!r} is no principal"[:200])
            found = _ENTITY.fullmatch(name) if kind == "AWS" else None
            if found is not None and not exists(found["account"], found["kind"], found["name"]):
                raise _malformed("Invalid principal in policy", why=f"{name} does not exist")


def _words(error: PolicyError) -> str:
    path = error.path
    if ".Action" in path or ".NotAction" in path:
        return "Policy has invalid action"
    if ".Resource" in path or ".NotResource" in path:
        return "Policy has invalid resource"
    if "Principal" in path:
        return "Invalid principal in policy"
    if ".Condition." in path:
        operator = path.partition(".Condition.")[2].partition(".")[0]
        if grammar.split_operator(operator) is None:
            return f"Invalid Condition type : {operator[:60]}"
        return "Invalid IP address in Conditions" if "IpAddress" in operator else "Policy has an invalid condition key"
    return "Invalid policy syntax."


def _actions_and_resources(statement: Statement, bucket: str, partition: str) -> None:
    start = f"arn:{partition}:s3:::"
    kinds: set[str] = set()
    for resource in statement.resources or statement.not_resources or ():
        rest = resource.removeprefix(start)
        name = rest.partition("/")[0]
        if rest == resource or not ("${" in name or wildcard_regex([name]).fullmatch(bucket)):
            raise _malformed("Policy has invalid resource", why=f"{resource[:120]} is not of {bucket}")
        kinds |= {"object"} if "/" in rest else {"bucket", "object"} if "*" in rest or "${" in rest else {"bucket"}
    for action in statement.actions or statement.not_actions or ():
        pattern = wildcard_regex([action.lower() if action != "*" else "s3:*"])
        reached = {kind for known, kind in _KNOWN.items() if pattern.fullmatch(f"s3:{known}".lower())}
        if not action.lower().startswith(("s3:", "*")) or not reached:
            raise _malformed("Policy has invalid action", why=f"{action[:80]} is no action of S3")
        if statement.actions is not None and statement.resources is not None and not reached & kinds:
            raise _malformed("Action does not apply to any resource(s) in statement", why=f"{action[:80]}")


def is_public(document: PolicyDocument) -> bool:
    """Whether the policy grants to anybody: an Allow for everyone that no condition ties to fixed values."""
    return any(
        statement.effect == "Allow"
        and (statement.not_principals is not None or any(name == "*" for _, name in statement.principals or ()))
        and not any(_fixes(condition) for condition in statement.conditions)
        for statement in document.statements
    )


def _fixes(condition: CompiledCondition) -> bool:
    if condition.negated or condition.if_exists or condition.quantifier == "ForAllValues":
        return False
    if condition.folded == "aws:sourceip":
        return condition.base == "IpAddress" and all(_narrow(value) for value in condition.values)
    return (
        condition.folded in _FIXING
        and condition.base in {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"}
        and not any(mark in value for value in condition.values for mark in ("*", "?", "${"))
    )


def _narrow(text: str) -> bool:
    """At least /8 of IPv4 or /32 of IPv6."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return network.prefixlen >= (8 if network.version == 4 else 32)


def _malformed(message: str, *, why: str = "") -> AwsError:
    return AwsError("MalformedPolicy", message, 400, why=f"{message}: {why}" if why else "")
