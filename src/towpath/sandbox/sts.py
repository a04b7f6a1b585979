"""STS, answered by the gate itself: an exchange is verified from the token's signature to the trust policy, or refused.

Sources: the STS API reference (AssumeRoleWithWebIdentity, AssumeRole, GetCallerIdentity) for codes and limits; the texts are those
AWS answers with where it publishes them, and docs/decision.md lists those nobody could verify.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from xml.sax.saxutils import escape

from towpath.errors import UsageError
from towpath.iam import arn as arns
from towpath.iam import partition as partitions
from towpath.iam.context import Context
from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request, decide
from towpath.iam.policy import PolicyError, PolicyKind, parse_policy
from towpath.oidc.errors import IssuerUnreachable, TokenCode, TokenError
from towpath.oidc.jwks import JwksCache
from towpath.oidc.verify import Claims, decode_unverified, verify
from towpath.sandbox.authorise import Authoriser
from towpath.sandbox.errors import STS_NAMESPACE, AwsError
from towpath.sandbox.iam_state import IamState, Role
from towpath.sandbox.operations import Operation
from towpath.sandbox.principals import Key, Keys, Principal
from towpath.sandbox.wire import Response

SESSION_NAME: Final = re.compile(r"^[\w+=,.@-]{2,64}$", re.ASCII)
TOKEN_LIMIT: Final = 20_000  # characters
SESSION_POLICY_LIMIT: Final = 2_048  # characters
CHAINED_LIMIT: Final = 3_600  # seconds a session may last that was assumed from another role's session


class Sts:
    """The operations of STS the gate answers. Those it does not know are refused, not passed to the emulator."""

    def __init__(self, *, state: IamState, keys: Keys, jwks: JwksCache, authoriser: Authoriser) -> None:
        self._state = state
        self._authoriser = authoriser
        self._keys = keys
        self._jwks = jwks

    def answer(self, operation: Operation, principal: Principal, *, region: str) -> Response:
        """A signed call. GetCallerIdentity needs no permission, and no policy can deny it (STS API reference)."""
        if operation.name == "GetCallerIdentity":
            return _xml(
                "GetCallerIdentity",
                f"<Arn>{escape(principal.arn)}</Arn><UserId>{escape(principal.user_id)}</UserId><Account>{principal.account}</Account>",
            )
        if operation.name == "AssumeRole":
            return self._assume_role(operation.parameters, principal, region)
        if operation.name == "GetAccessKeyInfo":
            found = self._keys.find(str(operation.parameters.get("AccessKeyId", "")))
            return _xml(
                "GetAccessKeyInfo", f"<Account>{found.principal.account if found else principal.account}</Account>"
            )
        raise AwsError("InvalidAction", f"{operation.name} is not answered by this sandbox.", 400)

    # --- AssumeRoleWithWebIdentity -------------------------------------------------------------------------------

    def web_identity(self, parameters: Mapping[str, Any]) -> tuple[Response, str, str]:
        """The unsigned exchange. Gives the response, who came (the token's subject) and why it was let in."""
        role_arn = _role_arn(parameters)
        session_name = _session_name(parameters)
        duration = _duration(parameters)
        token = str(parameters.get("WebIdentityToken", ""))
        if not 4 <= len(token) <= TOKEN_LIMIT:
            raise _validation(
                f"1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length between 4 and {TOKEN_LIMIT}"
            )
        claims, provider_arn, issuer = self._verified(token, role_arn.account)
        host = partitions.issuer_host(issuer)
        role = self._state.role(role_arn.account, role_arn.resource_name)
        denied = AwsError("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", 403)
        if role is None or role.arn != str(role_arn):
            denied.why = f"there is no role {role_arn}" if role is None else f"the role's ARN is {role.arn}"
            raise denied
        context = Context(
            {
                f"{host}:sub": claims.subject,
                f"{host}:aud": list(claims.audiences),
                f"{host}:iss": issuer,
                "aws:FederatedProvider": provider_arn,
                "sts:RoleSessionName": session_name,
            }
        )
        decision = decide(
            Request(
                action="sts:AssumeRoleWithWebIdentity",
                resource=role.arn,
                caller=Caller(federated=provider_arn),
                context=context,
            ),
            PolicySet(
                identity=(),
                resource=NamedPolicy(name=f"trust policy of {role.name}", document=role.trust),
                resource_account=role_arn.account,
            ),
        )
        if not decision.allowed:
            denied.why = decision.reason
            raise denied
        _within_role(duration, role)
        key = self._session(
            role, role_arn.account, session_name, duration, parameters, {"aws:FederatedProvider": provider_arn}
        )
        body = (
            f"<SubjectFromWebIdentityToken>{escape(claims.subject)}</SubjectFromWebIdentityToken>"
            f"<Audience>{escape(claims.audiences[0])}</Audience><Provider>{escape(provider_arn)}</Provider>"
            f"{_assumed(key.principal)}{_credentials(key)}"
        )
        return _xml("AssumeRoleWithWebIdentity", body), claims.subject, decision.reason

    def _verified(self, token: str, account: str) -> tuple[Claims, str, str]:
        """Claims of a token whose provider this account registered, that provider's ARN, and its URL."""
        try:
            _, payload = decode_unverified(token)
        except TokenError as error:
            raise _invalid(
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)", error
            ) from None
        issuer = payload.get("iss")
        if not isinstance(issuer, str) or not issuer:
            raise AwsError("InvalidIdentityToken", "Missing a required claim: iss", 400)
        provider = self._state.providers(account).get(issuer)
        if provider is None:
            raise AwsError("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}", 400)
        if "aud" not in payload:
            raise AwsError("InvalidIdentityToken", "Missing a required claim: aud", 400)
        try:
            claims = verify(token, issuer=issuer, keys=self._jwks, audiences=provider.client_ids, now=time.time())
        except IssuerUnreachable as error:
            raise AwsError(
                "IDPCommunicationError",
                "Error calling the Identity Provider: the request could not be fulfilled because your identity provider could not be reached or answered with an error. Retry the request; if it goes on, check the provider.",
                400,
                why=str(error),
            ) from None
        except TokenError as error:
            raise _token_error(error, payload) from None
        return claims, provider.arn, issuer

    # --- AssumeRole ----------------------------------------------------------------------------------------------

    def _assume_role(self, parameters: Mapping[str, Any], principal: Principal, region: str) -> Response:
        role_arn = _role_arn(parameters)
        session_name = _session_name(parameters)
        duration = _duration(parameters)
        role = self._state.role(role_arn.account, role_arn.resource_name)
        denied = AwsError(
            "AccessDenied",
            f"User: {principal.arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}",
            403,
        )
        if role is None or role.arn != str(role_arn):
            denied.why = f"there is no role {role_arn}"
            raise denied
        if principal.is_root:
            # AWS: "Roles may not be assumed by root accounts."
            raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", 403)
        context = {
            "sts:RoleSessionName": session_name,
            "aws:PrincipalArn": principal.role_arn or principal.arn,
            "aws:PrincipalAccount": principal.account,
        }
        if "ExternalId" in parameters:
            context["sts:ExternalId"] = str(parameters["ExternalId"])
        # One decision: a trust policy that names only the account delegates to it, and then the caller's own policies have to allow too.
        identity, boundary = self._authoriser.policies(principal)
        decision = decide(
            Request(
                action="sts:AssumeRole",
                resource=role.arn,
                caller=Caller(arn=principal.arn, account=principal.account, role_arn=principal.role_arn),
                context=Context(context),
            ),
            PolicySet(
                identity=identity,
                boundary=boundary,
                session=principal.session_policies,
                resource=NamedPolicy(name=f"trust policy of {role.name}", document=role.trust),
                resource_account=role_arn.account,
            ),
        )
        if not decision.allowed:
            denied.why = decision.reason
            raise denied
        if principal.role is not None and duration > CHAINED_LIMIT:
            raise _validation(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            )
        _within_role(duration, role)
        key = self._session(role, role_arn.account, session_name, duration, parameters, {})
        return _xml("AssumeRole", _assumed(key.principal) + _credentials(key))

    def _session(
        self,
        role: Role,
        account: str,
        session_name: str,
        duration: int,
        parameters: Mapping[str, Any],
        context: Mapping[str, str],
    ) -> Key:
        partition = arns.Arn.parse(role.arn).partition
        principal = Principal(
            arn=f"arn:{partition}:sts::{account}:assumed-role/{role.name}/{session_name}",
            account=account,
            user_id=f"{role.role_id}:{session_name}",
            role=role.name,
            role_id=role.role_id,
            role_arn=role.arn,
            session_name=session_name,
            session_policies=_session_policies(parameters),
            context=context,
        )
        now = datetime.now(UTC)
        return self._keys.issue_session(principal, now=now, expires_at=now + timedelta(seconds=duration))


def _token_error(error: TokenError, payload: Mapping[str, Any]) -> AwsError:
    """A refused token in AWS's words, by what was wrong with it."""
    if error.code is TokenCode.EXPIRED:
        return AwsError(
            "ExpiredTokenException",
            f"Token expired: current date/time {int(time.time())} must be before the expiration date/time {payload.get('exp')}",
            400,
            why=str(error),
        )
    if error.code is TokenCode.AUDIENCE:
        return _invalid("Incorrect token audience", error)
    if error.code is TokenCode.UNKNOWN_KEY:
        return _invalid(
            "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
            error,
        )
    if error.code is TokenCode.TOO_OLD:
        return _invalid("Token too old", error)
    if error.code in {TokenCode.NOT_YET_VALID, TokenCode.ISSUED_IN_FUTURE}:
        return _invalid("Token is not yet valid", error)
    if error.code is TokenCode.MISSING_CLAIM:
        name = next((claim for claim in ("aud", "sub", "exp", "iat") if claim not in payload), "sub")
        return _invalid(f"Missing a required claim: {name}", error)
    if error.code is TokenCode.ISSUER:
        return _invalid("The identity provider's discovery document names another issuer", error)
    if error.code is TokenCode.SIGNATURE:
        return _invalid("The token's signature could not be verified", error)
    if error.code is TokenCode.ALGORITHM:
        return _invalid("The token's signing algorithm is not supported", error)
    return _invalid(
        "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)", error
    )


def _invalid(message: str, error: TokenError) -> AwsError:
    return AwsError("InvalidIdentityToken", message, 400, why=str(error))


def _role_arn(parameters: Mapping[str, Any]) -> arns.Arn:
    try:
        found = arns.Arn.parse(str(parameters.get("RoleArn", "")))
    except UsageError:
        raise AwsError("ValidationError", "Request ARN is invalid", 400, why="RoleArn is not an ARN") from None
    if found.service != "iam" or found.resource_type != "role" or not re.fullmatch(r"\d{12}", found.account):
        raise AwsError("ValidationError", "Request ARN is invalid", 400, why=f"{found} is not a role's ARN")
    return found


def _session_name(parameters: Mapping[str, Any]) -> str:
    name = str(parameters.get("RoleSessionName", ""))
    if not SESSION_NAME.match(name):
        raise _validation(
            f"1 validation error detected: Value '{name[:80]}' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]* and have length between 2 and 64"
        )
    return name


def _duration(parameters: Mapping[str, Any]) -> int:
    text = str(parameters.get("DurationSeconds", "3600"))
    if not re.fullmatch(r"\d{1,6}", text) or not 900 <= int(text) <= 43_200:
        raise _validation(
            f"1 validation error detected: Value '{text[:20]}' at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 43200"
        )
    return int(text)


def _within_role(duration: int, role: Role) -> None:
    if duration > role.max_session:
        raise _validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")


def _session_policies(parameters: Mapping[str, Any]) -> tuple[NamedPolicy, ...] | None:
    if any(key.startswith(("PolicyArns.", "Tags.", "TransitiveTagKeys.")) for key in parameters):
        raise AwsError(
            "NotImplemented", "Managed session policies and session tags are not supported by this sandbox yet.", 501
        )
    text = parameters.get("Policy")
    if text is None:
        return None
    if len(str(text)) > SESSION_POLICY_LIMIT:
        raise _validation(
            f"1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to {SESSION_POLICY_LIMIT}"
        )
    try:
        document = parse_policy(str(text), kind=PolicyKind.IDENTITY, name="session policy")
    except PolicyError as error:
        raise AwsError("MalformedPolicyDocument", str(error), 400) from None
    return (NamedPolicy(name="session policy", document=document),)


def _validation(message: str) -> AwsError:
    return AwsError("ValidationError", message, 400)


def _credentials(key: Key) -> str:
    end = key.expires_at or datetime.now(UTC)
    return (
        f"<Credentials><AccessKeyId>{key.access_key}</AccessKeyId><SecretAccessKey>{key.secret}</SecretAccessKey>"
        f"<SessionToken>{key.session_token}</SessionToken><Expiration>{end:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
    )


def _assumed(principal: Principal) -> str:
    return f"<AssumedRoleUser><AssumedRoleId>{escape(principal.user_id)}</AssumedRoleId><Arn>{escape(principal.arn)}</Arn></AssumedRoleUser>"


def _xml(operation: str, result: str) -> Response:
    request_id = secrets.token_hex(16)
    text = (
        f'<{operation}Response xmlns="{STS_NAMESPACE}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    )
    return Response(
        status=200, headers=[("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)], body=text.encode()
    )
