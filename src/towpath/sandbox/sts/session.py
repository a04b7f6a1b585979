"""What a session carries beside its role or user: policies that limit it, tags, a source identity; and what of it may be asked.

Sources: "Session policies" and "Pass session tags in AWS STS" in the IAM User Guide; AssumeRole in the STS API reference.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from towpath.iam.decide import NamedPolicy
from towpath.iam.policy import PolicyError, PolicyKind, parse_policy
from towpath.sandbox.errors import AwsError

POLICY_ARNS: Final = 10
PLAIN_LIMIT: Final = 2_048  # characters of inline policy and policy ARNs together
# AWS packs policies and tags in a form it does not publish. These are estimates, set so that the few sizes people have reported
# come out near (docs/decision.md): compressed bytes that the policies may take, plain characters that the tags may.
PACKED_POLICY_BYTES: Final = 1_300
PACKED_TAG_CHARACTERS: Final = 400
RESERVED: Final = "aws:"

ManagedPolicy = Callable[[str], NamedPolicy | None]
"""ARN -> the policy, of the role's account or AWS's own; None when there is none."""


@dataclass(frozen=True, kw_only=True)
class SessionTags:
    """`values` are what the session is tagged with; `transitive` those it hands on when it assumes another role."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    transitive: tuple[str, ...] = ()

    def handed_on(self) -> dict[str, str]:
        return {name: self.values[name] for name in self.transitive}

    def request_keys(self) -> dict[str, Any]:
        """The condition keys a request with these tags has ("Actions, resources, and condition keys for AWS STS")."""
        if not self.values:
            return {}
        keys: dict[str, Any] = {f"aws:RequestTag/{name}": value for name, value in self.values.items()}
        keys["aws:TagKeys"] = list(self.values)
        if self.transitive:
            keys["sts:TransitiveTagKeys"] = list(self.transitive)
        return keys


NO_TAGS: Final = SessionTags()


@dataclass(frozen=True, kw_only=True)
class Carried:
    """Everything a role's session is opened with. `inherited` are the tags of the session that assumed the role."""

    policies: tuple[NamedPolicy, ...] | None = None
    tags: SessionTags = NO_TAGS
    inherited: SessionTags = NO_TAGS
    source_identity: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def every_tag(self) -> Mapping[str, str]:
        return {**self.inherited.handed_on(), **self.tags.values}

    @property
    def every_transitive(self) -> tuple[str, ...]:
        return (*self.inherited.transitive, *self.tags.transitive)


def tags(
    pairs: Sequence[tuple[str, str]], transitive: Sequence[str], *, inherited: SessionTags = NO_TAGS
) -> SessionTags:
    """The tags a request passes. Raises AwsError for two of one key, a reserved key, one that was inherited, or a transitive
    key that is not there.
    """
    values: dict[str, str] = {}
    folded: dict[str, str] = {}
    inherited_names = {name.lower() for name in inherited.transitive}
    for name, value in pairs:
        if name.lower() in folded:
            raise AwsError(
                "InvalidParameterValue",
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
                400,
            )
        if name.lower().startswith(RESERVED):
            raise AwsError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for system use.", 400)
        if name.lower() in inherited_names:
            raise AwsError(
                "InvalidParameterValue",
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
                400,
            )
        folded[name.lower()] = name
        values[name] = value
    for name in transitive:
        if name.lower() not in folded:
            raise AwsError(
                "InvalidParameterValue", "The specified transitive tag key must be included in the requested tags.", 400
            )
    return SessionTags(values=values, transitive=tuple(folded[name.lower()] for name in transitive))


def policies(parameters: Mapping[str, Any], managed: ManagedPolicy) -> tuple[NamedPolicy, ...] | None:
    """The session policies of `Policy` and `PolicyArns`; None when neither is given, and nothing then limits the session."""
    text = parameters.get("Policy")
    arns = _arns(parameters)
    if text is None and not arns:
        return None
    found: list[NamedPolicy] = []
    if text is not None:
        try:
            document = parse_policy(str(text), kind=PolicyKind.SESSION, name="session policy")
        except PolicyError as error:
            raise AwsError("MalformedPolicyDocument", f"{error.reason}", 400, why=str(error)) from None
        found.append(NamedPolicy(name="session policy", document=document))
    for arn in arns:
        policy = managed(arn)
        if policy is None:
            # Unverified: the reference says only that the policies have to be in the role's account.
            raise AwsError("ValidationError", f"Policy {arn} does not exist or is not in the role's account.", 400)
        found.append(policy)
    return tuple(found)


def _arns(parameters: Mapping[str, Any]) -> list[str]:
    members = cast("list[Any]", parameters.get("PolicyArns", []))
    if len(members) > POLICY_ARNS:
        raise _constraint("Value at 'policyArns'", f"have length less than or equal to {POLICY_ARNS}")
    for number, member in enumerate(members, 1):
        # A member without its ARN must not become a session without its policy.
        if not isinstance(member, dict) or not member.get("arn"):
            raise _constraint(f"Value null at 'policyArns.{number}.member.arn'", "not be null")
    return [str(member["arn"]) for member in members]


def _constraint(value: str, must: str) -> AwsError:
    return AwsError(
        "ValidationError",
        f"1 validation error detected: {value} failed to satisfy constraint: Member must {must}",
        400,
    )


def packed_size(parameters: Mapping[str, Any], given: SessionTags, inherited: SessionTags = NO_TAGS) -> int | None:
    """Percent of the space for session policies and tags; None when there are none. Raises AwsError PackedPolicyTooLarge."""
    text = str(parameters.get("Policy", ""))
    arns = _arns(parameters)
    every = {**inherited.handed_on(), **given.values}
    if not text and not arns and not every:
        return None
    if len(text) + sum(map(len, arns)) > PLAIN_LIMIT:
        plain = -(-100 * (len(text) + sum(map(len, arns))) // PLAIN_LIMIT)
        raise _too_large(f"Packed policy consumes {plain}% of allotted space, please use smaller policy.")
    percent = 0
    if text or arns:
        compact = json.dumps(json.loads(text), separators=(",", ":")) if text else ""
        percent = -(-100 * len(zlib.compress("".join([compact, *arns]).encode(), 9)) // PACKED_POLICY_BYTES)
        if percent > 100:
            raise _too_large(f"Packed policy consumes {percent}% of allotted space, please use smaller policy.")
    if every:
        share = -(-100 * sum(len(name) + len(value) + 2 for name, value in every.items()) // PACKED_TAG_CHARACTERS)
        if share > 100:
            raise _too_large(f"Packed size of session tags consumes {share}% of allotted space.")
        percent = max(percent, share)
    return percent


def _too_large(message: str) -> AwsError:
    return AwsError("PackedPolicyTooLarge", message, 400)
