"""The operations of STS. Those it does not know are refused, not passed to the emulator.

Sources: the STS API reference, operation by operation, for codes, limits and who may call what; the texts are those AWS answers
with where it publishes them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from towpath.iam.context import Context, Value
from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request, decide
from towpath.oidc.jwks import JwksCache
from towpath.sandbox import constraints, contexts
from towpath.sandbox.authorise import Authoriser
from towpath.sandbox.contexts import Way
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.operations import Operation
from towpath.sandbox.principals import Keys, Principal
from towpath.sandbox.s3_operations import Need
from towpath.sandbox.sts import answers, asked, assume_role, session, sessions, user_sessions, web_identity
from towpath.sandbox.wire import Response

UNSIGNED: Final = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")


class Sts:
    """Answers every request to STS."""

    def __init__(self, *, state: IamState, keys: Keys, jwks: JwksCache, authoriser: Authoriser) -> None:
        self._state = state
        self._authoriser = authoriser
        self._keys = keys
        self._jwks = jwks
        self._signed: Mapping[str, Callable[[Mapping[str, Any], Principal, Way], Response]] = {
            "AssumeRole": self._assume_role,
            "DecodeAuthorizationMessage": self._decode_authorization_message,
            "GetAccessKeyInfo": self._access_key_info,
            "GetCallerIdentity": self._caller_identity,
            "GetFederationToken": self._federation_token,
            "GetSessionToken": self._session_token,
        }

    def answer(self, operation: Operation, principal: Principal, way: Way) -> Response:
        """A signed call."""
        if operation.name == "AssumeRoleWithWebIdentity":
            # An SDK sends it unsigned; a signature on it changes nothing, for the token alone says who is there.
            return self.web_identity(operation.parameters, way)[0]
        found = self._signed.get(operation.name)
        if found is None:
            raise _not_answered(operation.name)
        parameters = constraints.shaped("sts", operation.name, operation.parameters)
        return found(parameters, principal, way)

    def unsigned(self, form: Mapping[str, str], way: Way) -> tuple[Response, str, str]:
        """One of UNSIGNED. Gives the response, who came (the token's subject) and why it was let in."""
        if form.get("Action") != "AssumeRoleWithWebIdentity":
            raise _not_answered(str(form.get("Action"))[:64])
        return self.web_identity(form, way)

    # --- without a signature -------------------------------------------------------------------------------------

    def web_identity(self, form: Mapping[str, str], way: Way) -> tuple[Response, str, str]:
        parameters = constraints.shaped("sts", "AssumeRoleWithWebIdentity", form)
        wanted = asked.asked(parameters, partition=self._state.partition)
        account = wanted.role_arn.account
        identity = web_identity.identify(parameters, account, state=self._state, jwks=self._jwks)
        role = asked.role(self._state, wanted.role_arn)
        if role is None:
            raise AwsError(
                "AccessDenied",
                "Not authorized to perform sts:AssumeRoleWithWebIdentity",
                403,
                why=f"there is no role {wanted.role_arn}",
            )
        keys: dict[str, Value] = {
            **identity.keys,
            **identity.tags.request_keys(),
            **contexts.tag_keys("aws:ResourceTag", role.tags),
            "aws:FederatedProvider": identity.provider_arn,
            "sts:RoleSessionName": wanted.session_name,
            **way.keys(),
        }
        if identity.source_identity is not None:
            keys["sts:SourceIdentity"] = identity.source_identity
        context = Context(keys)
        trust = PolicySet(
            resource=NamedPolicy(name=f"trust policy of {role.name}", document=role.trust), resource_account=account
        )
        reason = ""
        for action in identity.actions:
            decision = decide(
                Request(
                    action=action,
                    resource=role.arn,
                    caller=Caller(federated=identity.provider_arn),
                    context=context,
                ),
                trust,
            )
            if not decision.allowed:
                raise AwsError("AccessDenied", f"Not authorized to perform {action}", 403, why=decision.reason)
            reason = reason or decision.reason
        asked.within_role(wanted.duration, role)
        policies = session.policies(parameters, self._managed(account))
        packed = session.packed_size(parameters, identity.tags)
        key = sessions.of_role(
            self._keys,
            role,
            wanted,
            session.Carried(
                policies=policies,
                tags=identity.tags,
                source_identity=identity.source_identity,
                context={
                    "aws:FederatedProvider": identity.provider_arn,
                    **{name: value for name, value in identity.keys.items() if not name.endswith(":iss")},
                },
            ),
        )
        response = answers.answer(
            "AssumeRoleWithWebIdentity",
            answers.elements(
                {
                    "SubjectFromWebIdentityToken": identity.claims.subject,
                    "Audience": identity.audience,
                    "Provider": identity.provider_arn,
                    "PackedPolicySize": packed,
                    "SourceIdentity": identity.source_identity,
                }
            ),
            answers.assumed_role(key.principal),
            answers.credentials(key),
        )
        return response, identity.claims.subject, reason

    # --- with one ------------------------------------------------------------------------------------------------

    def _caller_identity(self, parameters: Mapping[str, Any], principal: Principal, way: Way) -> Response:
        """No permission is needed, and no policy can deny it."""
        return answers.answer(
            "GetCallerIdentity",
            answers.elements({"Arn": principal.arn, "UserId": principal.user_id, "Account": principal.account}),
        )

    def _assume_role(self, parameters: Mapping[str, Any], principal: Principal, way: Way) -> Response:
        user_sessions.check_no_mfa(parameters)
        wanted = asked.asked(parameters, partition=self._state.partition)
        inherited = session.SessionTags(values=principal.tags, transitive=principal.transitive)
        tags = session.tags(
            [(str(item.get("Key", "")), str(item.get("Value", ""))) for item in parameters.get("Tags", ())],
            [str(key) for key in parameters.get("TransitiveTagKeys", ())],
            inherited=inherited,
        )
        source = parameters.get("SourceIdentity")
        key, packed = assume_role.assume(
            assume_role.Assumption(
                wanted=wanted,
                parameters=parameters,
                tags=tags,
                inherited=inherited,
                source_identity=str(source) if source is not None else None,
            ),
            principal,
            state=self._state,
            keys=self._keys,
            authoriser=self._authoriser,
            managed=self._managed(wanted.role_arn.account),
            way=way,
        )
        return answers.answer(
            "AssumeRole",
            answers.assumed_role(key.principal),
            answers.credentials(key),
            answers.elements({"PackedPolicySize": packed, "SourceIdentity": key.principal.source_identity}),
        )

    def _session_token(self, parameters: Mapping[str, Any], principal: Principal, way: Way) -> Response:
        key = user_sessions.session_token(parameters, principal, self._keys)
        return answers.answer("GetSessionToken", answers.credentials(key))

    def _federation_token(self, parameters: Mapping[str, Any], principal: Principal, way: Way) -> Response:
        federated = user_sessions.federated(parameters, principal, self._managed(principal.account))
        resource = federated.principal.arn
        self._allow(
            principal, Need(action="sts:GetFederationToken", resource=resource, context=federated.request_keys), way
        )
        if federated.tags.values:
            self._allow(
                principal, Need(action="sts:TagSession", resource=resource, context=federated.request_keys), way
            )
        key = user_sessions.open_federated(federated, self._keys)
        return answers.answer(
            "GetFederationToken",
            answers.credentials(key),
            answers.federated_user(key.principal),
            answers.elements({"PackedPolicySize": federated.packed}),
        )

    def _access_key_info(self, parameters: Mapping[str, Any], principal: Principal, way: Way) -> Response:
        self._allow(principal, Need(action="sts:GetAccessKeyInfo", resource="*"), way)
        access_key = str(parameters["AccessKeyId"])
        found = self._keys.find(access_key)
        account = found.principal.account if found else _account_in(access_key)
        if account is None:
            raise AwsError("ValidationError", "Invalid type for parameter AccessKeyId", 400, why="no AWS access key id")
        return answers.answer("GetAccessKeyInfo", answers.elements({"Account": account}))

    def _decode_authorization_message(self, parameters: Mapping[str, Any], principal: Principal, way: Way) -> Response:
        """The sandbox tells its reasons in the call record and never in an encoded message, so no message is one of its own."""
        self._allow(principal, Need(action="sts:DecodeAuthorizationMessage", resource="*"), way)
        raise AwsError("InvalidAuthorizationMessageException", "Message is not valid", 400)

    def _allow(self, principal: Principal, need: Need, way: Way) -> None:
        self._authoriser.allow(principal, need, way, service="sts")

    def _managed(self, account: str) -> session.ManagedPolicy:
        return lambda arn: self._state.managed_policy(account, arn)


def _not_answered(operation: str) -> AwsError:
    return AwsError(
        "NotImplemented",
        f"{operation} is not answered by this sandbox: it has no SAML provider, no organization and no MFA device.",
        501,
    )


def _account_in(access_key: str) -> str | None:
    """The account that the newer access key ids hold, in base 32 behind the four letters."""
    if not re.fullmatch(r"A[A-Z]IA[A-Z2-7]{12,28}", access_key):
        return None
    number = int.from_bytes(base64.b32decode(access_key[4:12])[:5])
    odd = access_key[12] >= "Q" or access_key[12].isdigit()
    account = (number - 0x80_0000_0000) * 2 + odd
    return f"{account:012d}" if 0 <= account < 10**12 else None
