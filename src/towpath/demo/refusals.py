"""Three requests that differ from one that works in one thing each, and what AWS says to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from towpath.chain.observed import Chain
from towpath.errors import WorldError
from towpath.identity.world import World
from towpath.sandbox.main import Sandbox

OTHER_NAMESPACE: Final = "staging"
OTHER_AUDIENCE: Final = "https://kubernetes.default.svc"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """`message` is AWS's; `why` is ours: what in which policy, or in the token, did not fit."""

    case: str
    code: str
    message: str
    why: str


def show(sandbox: Sandbox, world: World, chain: Chain, *, bucket: str) -> list[Refusal]:
    """Raises WorldError if one of them is not refused, or if the request they differ from does not work."""
    wanted = chain.wanted
    cluster = sandbox.clusters.named(wanted.cluster)
    if cluster is None:
        raise WorldError("the cluster is gone", where=wanted.cluster)

    def exchange(namespace: str, audience: str) -> dict[str, Any]:
        token, _ = cluster.token(namespace, wanted.service_account, audiences=[audience], expires_in=600)
        return world.aws.unsigned_sts().assume_role_with_web_identity(
            RoleArn=chain.role_arn, RoleSessionName="demo", WebIdentityToken=token
        )

    session = exchange(wanted.namespace, wanted.audience)["Credentials"]
    s3 = world.aws.under("s3", session)
    s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    return [
        _refused(
            f"a token of another namespace ({OTHER_NAMESPACE}/{wanted.service_account})",
            sandbox,
            lambda: exchange(OTHER_NAMESPACE, wanted.audience),
        ),
        _refused(
            f"a token for another audience ({OTHER_AUDIENCE})",
            sandbox,
            lambda: exchange(wanted.namespace, OTHER_AUDIENCE),
        ),
        _refused(
            "an action the policy does not hold (s3:DeleteBucket)", sandbox, lambda: s3.delete_bucket(Bucket=bucket)
        ),
    ]


def _refused(case: str, sandbox: Sandbox, call: Callable[[], Any]) -> Refusal:
    try:
        call()
    except ClientError as error:
        detail: dict[str, Any] = dict(error.response.get("Error", {}))
        last = sandbox.record.as_json()[-1]
        return Refusal(
            case=case, code=str(detail.get("Code", "")), message=str(detail.get("Message", "")), why=str(last["why"])
        )
    raise WorldError(f"{case} was let in", where="sandbox", todo="please report this: it must be refused")
