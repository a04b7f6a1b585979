"""What IAM refuses to create. An emulator accepts it all, and the mistake then shows only when a job runs.

Sources: the API reference's pages of each operation, "IAM and AWS STS quotas", and "Creating OpenID Connect (OIDC)
identity providers" in the IAM User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from towpath.errors import UsageError
from towpath.iam import quota
from towpath.iam.policy import PolicyDocument, PolicyError, PolicyKind, parse_policy
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState

QUOTAS: Final = quota.Quotas()
ROLE_NAME: Final = re.compile(r"^[\w+=,.@-]{1,64}$", re.ASCII)
POLICY_NAME: Final = re.compile(r"^[\w+=,.@-]{1,128}$", re.ASCII)
PATH: Final = re.compile(r"^(/|/[\x21-\x7e]+/)$")
PROVIDERS_PER_ACCOUNT: Final = 100


class CreationRules:
    """The checks, by operation. `check` raises AwsError when AWS would not make or change the thing."""

    def __init__(self, state: IamState) -> None:
        self._state = state
        self._rules: dict[str, Callable[[str, Mapping[str, Any]], None]] = {
            "CreateRole": self._create_role,
            "UpdateAssumeRolePolicy": self._update_trust,
            "UpdateRole": lambda _, p: _max_session(p),
            "PutRolePolicy": lambda _, p: self._inline(p),
            "PutUserPolicy": lambda _, p: self._inline(p),
            "PutGroupPolicy": lambda _, p: self._inline(p),
            "CreatePolicy": self._create_policy,
            "CreatePolicyVersion": lambda _, p: self._managed(p),
            "AttachRolePolicy": self._attach,
            "CreateOpenIDConnectProvider": self._create_provider,
            "AddClientIDToOpenIDConnectProvider": self._add_client_id,
        }

    def check(self, operation: str, account: str, parameters: Mapping[str, Any]) -> None:
        rule = self._rules.get(operation)
        if rule is not None:
            rule(account, parameters)

    def _create_role(self, account: str, parameters: Mapping[str, Any]) -> None:
        name = _required(parameters, "RoleName", "roleName")
        _name(name, ROLE_NAME, 64, "roleName")
        _path(parameters)
        _max_session(parameters)
        self._trust(_required(parameters, "AssumeRolePolicyDocument", "assumeRolePolicyDocument"))
        if name.lower() in self._state.role_names(account):
            raise AwsError("EntityAlreadyExists", f"Role with name {name} already exists.", 409)

    def _update_trust(self, account: str, parameters: Mapping[str, Any]) -> None:
        self._existing_role(account, parameters)
        self._trust(_required(parameters, "PolicyDocument", "policyDocument"))

    def _existing_role(self, account: str, parameters: Mapping[str, Any]) -> None:
        name = _required(parameters, "RoleName", "roleName")
        if name.lower() not in self._state.role_names(account):
            raise AwsError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)

    def _trust(self, text: str) -> None:
        document = _document(text, PolicyKind.TRUST)
        if quota.size(document.source) > QUOTAS.assume_role_policy_size:
            raise AwsError(
                "LimitExceeded", f"Cannot exceed quota for ACLSizePerRole: {QUOTAS.assume_role_policy_size}", 409
            )

    def _inline(self, parameters: Mapping[str, Any]) -> None:
        _name(_required(parameters, "PolicyName", "policyName"), POLICY_NAME, 128, "policyName")
        _document(_required(parameters, "PolicyDocument", "policyDocument"), PolicyKind.IDENTITY)

    def _create_policy(self, account: str, parameters: Mapping[str, Any]) -> None:
        name = _required(parameters, "PolicyName", "policyName")
        _name(name, POLICY_NAME, 128, "policyName")
        _path(parameters)
        self._managed(parameters)
        if any(arn.rpartition("/")[2].lower() == name.lower() for arn in self._state.policy_arns(account)):
            raise AwsError(
                "EntityAlreadyExists", f"A policy called {name} already exists. Duplicate names are not allowed.", 409
            )

    def _managed(self, parameters: Mapping[str, Any]) -> None:
        document = _document(_required(parameters, "PolicyDocument", "policyDocument"), PolicyKind.IDENTITY)
        if quota.size(document.source) > QUOTAS.policy_size:
            raise AwsError("LimitExceeded", f"Cannot exceed quota for PolicySize: {QUOTAS.policy_size}", 409)

    def _attach(self, account: str, parameters: Mapping[str, Any]) -> None:
        self._existing_role(account, parameters)

    def _create_provider(self, account: str, parameters: Mapping[str, Any]) -> None:
        url = _required(parameters, "Url", "url")
        parts = urlsplit(url)
        if len(url) > 255:
            raise _validation(
                f"1 validation error detected: Value '{url[:60]}…' at 'url' failed to satisfy constraint: Member must have length less than or equal to 255"
            )
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme != "https" or not parts.hostname:
            raise AwsError("ValidationError", "Invalid Open ID Connect Provider URL", 400, why="not an https URL")
        if port is not None or parts.query or parts.fragment or "@" in parts.netloc or "?" in url or "#" in url:
            raise AwsError(
                "ValidationError",
                "Invalid Open ID Connect Provider URL",
                400,
                why="a provider URL has no port, query, fragment or user",
            )
        for client_id in _members(parameters, "ClientIDList"):
            _client_id(client_id)
        if len(_members(parameters, "ClientIDList")) > 100:
            raise AwsError("LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100", 409)
        for thumbprint in _members(parameters, "ThumbprintList"):
            if not re.fullmatch(r"[0-9A-Fa-f]{40}", thumbprint):
                raise AwsError("ValidationError", "Thumbprint must be 40 hexadecimal characters", 400)
        if len(_members(parameters, "ThumbprintList")) > 5:
            raise AwsError("InvalidInput", "Thumbprint list must contain fewer than 5 entries.", 400)
        providers = self._state.providers(account)
        if url in providers:
            raise AwsError("EntityAlreadyExists", f"Provider with url {url} already exists.", 409)
        if len(providers) >= PROVIDERS_PER_ACCOUNT:
            raise AwsError(
                "LimitExceeded",
                f"Cannot exceed quota for OpenIdConnectProvidersPerAccount: {PROVIDERS_PER_ACCOUNT}",
                409,
            )

    def _add_client_id(self, account: str, parameters: Mapping[str, Any]) -> None:
        _client_id(_required(parameters, "ClientID", "clientID"))
        arn = str(parameters.get("OpenIDConnectProviderArn", ""))
        found = next((p for p in self._state.providers(account).values() if p.arn == arn), None)
        if found is None:
            raise AwsError("NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}", 404)
        if len(found.client_ids) >= 100 and parameters["ClientID"] not in found.client_ids:
            raise AwsError("LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100", 409)


def _document(text: str, kind: PolicyKind) -> PolicyDocument:
    try:
        return parse_policy(text, kind=kind)
    except PolicyError as error:
        raise AwsError("MalformedPolicyDocument", _wording(error, kind), 400, why=str(error)) from None
    except UsageError as error:
        raise AwsError("MalformedPolicyDocument", str(error), 400) from None


def _wording(error: PolicyError, kind: PolicyKind) -> str:
    """AWS's own text where one is published for this mistake; else ours, which says more."""
    if kind is PolicyKind.TRUST and "Resource" in error.path:
        return "Has prohibited field Resource"
    return f"Syntax error in policy: {error.reason}" + (f" (at {error.path})" if error.path else "")


def _required(parameters: Mapping[str, Any], name: str, member: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise _validation(
            f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
        )
    return value


def _members(parameters: Mapping[str, Any], name: str) -> list[str]:
    """A list of the Query protocol: `Name.member.1`, `Name.member.2`, …"""
    return [str(value) for key, value in parameters.items() if key.startswith(f"{name}.member.")]


def _name(name: str, pattern: re.Pattern[str], longest: int, member: str) -> None:
    if len(name) > longest:
        raise _validation(
            f"1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: Member must have length less than or equal to {longest}"
        )
    if not pattern.match(name):
        raise _validation(
            f"The specified value for {member} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
        )


def _path(parameters: Mapping[str, Any]) -> None:
    path = str(parameters.get("Path", "/"))
    if len(path) > 512 or not PATH.match(path):
        raise _validation(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."
        )


def _max_session(parameters: Mapping[str, Any]) -> None:
    value = parameters.get("MaxSessionDuration")
    if value is None:
        return
    if not str(value).isdigit() or not 3600 <= int(value) <= 43_200:
        raise _validation(
            f"1 validation error detected: Value '{value}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200"
        )


def _client_id(value: str) -> None:
    if not 1 <= len(value) <= 255:
        raise _validation(
            "1 validation error detected: Value at 'clientID' failed to satisfy constraint: Member must have length between 1 and 255"
        )


def _validation(message: str) -> AwsError:
    return AwsError("ValidationError", message, 400)
