"""The proof: a real token, a real exchange at the regional endpoint, the caller's identity, and each harmless permission tried."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from towpath.chain.observed import Chain, ObservedAccess, ObservedExchange
from towpath.errors import MissingPermissionError, WorldError
from towpath.iam import arn as arns
from towpath.iam import build
from towpath.identity.world import World
from towpath.oidc.errors import TokenError

SESSION_NAME: Final = "towpath-prove"
SESSION_SECONDS: Final = 900  # the shortest STS gives
ATTEMPTS: Final = 6  # a new role or provider takes some seconds to be seen everywhere
FIRST_WAIT: Final = 0.25  # seconds; doubled each time
# What STS answers while it has not seen a change yet.
SETTLING: Final = frozenset({"AccessDenied", "InvalidIdentityToken", "IDPCommunicationError"})


def prove(chain: Chain, world: World, *, patient: bool = True) -> Chain:
    """The chain with its exchange and accesses tried. `patient` tries again while a fresh change spreads."""
    if chain.service_account is None or chain.role is None:
        return chain
    wanted = chain.wanted
    try:
        token = world.service_accounts().token(wanted.namespace, wanted.service_account, wanted.audience)
    except (MissingPermissionError, WorldError) as error:
        return chain.model_copy(
            update={
                "unreadable": {
                    **chain.unreadable,
                    "exchange": f"no token: {error}",
                    "access": "not tried: there is no token",
                }
            }
        )
    exchange, credentials = _exchange(chain, world, token, attempts=ATTEMPTS if patient else 1)
    if credentials is None:
        return chain.model_copy(
            update={
                "exchange": exchange,
                "unreadable": {**chain.unreadable, "access": "not tried: the exchange failed"},
            }
        )
    probes = tuple(_try(world, credentials, *probe) for probe in harmless(chain))
    return chain.model_copy(update={"exchange": exchange, "access": probes})


def _exchange(
    chain: Chain, world: World, token: str, *, attempts: int
) -> tuple[ObservedExchange, dict[str, str] | None]:
    claims = _claims(token)
    client = world.aws.unsigned_sts()
    wait = FIRST_WAIT
    for attempt in range(attempts):
        try:
            answer = client.assume_role_with_web_identity(
                RoleArn=chain.role_arn,
                RoleSessionName=SESSION_NAME,
                WebIdentityToken=token,
                DurationSeconds=SESSION_SECONDS,
            )
            credentials: dict[str, str] = answer["Credentials"]
            arn = str(world.aws.under("sts", credentials).get_caller_identity()["Arn"])
            return ObservedExchange(ok=True, arn=arn, **claims), credentials
        except ClientError as error:
            detail: Mapping[str, Any] = error.response.get("Error", {})
            code = str(detail.get("Code", ""))
            if code not in SETTLING or attempt + 1 == attempts:
                return ObservedExchange(ok=False, code=code, message=str(detail.get("Message", "")), **claims), None
        except BotoCoreError as error:
            return ObservedExchange(ok=False, code=type(error).__name__, message=str(error), **claims), None
        time.sleep(wait)
        wait *= 2
    raise AssertionError("unreachable")


def _claims(token: str) -> dict[str, Any]:
    from towpath.oidc.verify import decode_unverified

    try:
        _, payload = decode_unverified(token)
    except TokenError:
        return {}
    audience = payload.get("aud", ())
    return {
        "issuer": str(payload.get("iss", "")),
        "subject": str(payload.get("sub", "")),
        "audiences": tuple(str(item) for item in audience) if isinstance(audience, list) else (str(audience),),
    }


def harmless(chain: Chain) -> list[tuple[str, str, str]]:
    """(action, bucket, prefix) of the calls the wanted policies allow that change nothing. Pure."""
    out: dict[tuple[str, str], tuple[str, str, str]] = {}
    for policy in chain.wanted.policies:
        for statement in build.statements_of(policy.document):
            if statement.get("Effect") != "Allow":
                continue
            actions = {item.lower() for item in _listed(statement.get("Action"))}
            for bucket in _buckets(statement):
                for action, names in (
                    ("s3:ListBucket", {"s3:listbucket", "s3:list*", "s3:*", "*"}),
                    ("s3:GetBucketLocation", {"s3:getbucketlocation", "s3:get*", "s3:*", "*"}),
                ):
                    if actions & names:
                        out.setdefault((action, bucket), (action, bucket, _prefix(statement)))
    return list(out.values())


def _buckets(statement: Mapping[str, Any]) -> Iterator[str]:
    for text in _listed(statement.get("Resource")):
        if text.startswith("arn:"):
            found = arns.Arn.parse(text)
            if found.service == "s3" and "/" not in found.resource and not set(found.resource) & {"*", "?", "$"}:
                yield found.resource


def _prefix(statement: Mapping[str, Any]) -> str:
    for keys in statement.get("Condition", {}).values():
        for key, values in keys.items():
            if key.lower() == "s3:prefix":
                plain = [value.rstrip("*") for value in _listed(values)]
                return max(plain, key=len) if plain else ""
    return ""


def _try(world: World, credentials: dict[str, str], action: str, bucket: str, prefix: str) -> ObservedAccess:
    s3 = world.aws.under("s3", credentials)
    resource = f"s3://{bucket}/{prefix}" if prefix and action == "s3:ListBucket" else f"s3://{bucket}"
    try:
        if action == "s3:ListBucket":
            s3.list_objects_v2(Bucket=bucket, MaxKeys=1, **({"Prefix": prefix} if prefix else {}))
        else:
            s3.get_bucket_location(Bucket=bucket)
    except ClientError as error:
        detail: Mapping[str, Any] = error.response.get("Error", {})
        return ObservedAccess(
            action=action,
            resource=resource,
            ok=False,
            code=str(detail.get("Code", "")),
            message=str(detail.get("Message", "")),
        )
    except BotoCoreError as error:
        return ObservedAccess(action=action, resource=resource, ok=False, code=type(error).__name__, message=str(error))
    return ObservedAccess(action=action, resource=resource, ok=True)


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]
