"""A role for a job: trusted by one service account of the sandbox's cluster, with one policy; and the environment a job has then."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from towpath.iam import arn as arns
from towpath.iam import build

AUDIENCE: Final = "sts.amazonaws.com"
INLINE: Final = "inline"  # name of the role's policy
# What the administrator's environment has and a job's must not.
ADMINISTRATORS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TOWPATH_SANDBOX_SECRET")

Policy = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@contextmanager
def clients(administrator: Mapping[str, str], *services: str) -> Generator[list[Any]]:
    """SDK clients by the administrator's environment."""
    import botocore.session

    session: Any = botocore.session.Session()
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                closing(
                    session.create_client(
                        service,
                        endpoint_url=administrator["AWS_ENDPOINT_URL"],
                        region_name=administrator["AWS_REGION"],
                        aws_access_key_id=administrator["AWS_ACCESS_KEY_ID"],
                        aws_secret_access_key=administrator["AWS_SECRET_ACCESS_KEY"],
                    )
                )
            )
            for service in services
        ]


def make(administrator: Mapping[str, str], name: str, policy: Policy, *, service_account: str) -> str:
    """The role's ARN. `policy`: a document, its statements, or one statement; `service_account`: NAMESPACE/NAME."""
    namespace, _, account = service_account.partition("/")
    with clients(administrator, "eks", "iam") as (eks, iam):
        cluster = eks.describe_cluster(name=administrator["TOWPATH_SANDBOX_CLUSTER"])["cluster"]
        issuer = str(cluster["identity"]["oidc"]["issuer"])
        known = [str(item["Arn"]) for item in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
        provider = next((arn for arn in known if issuer == f"https://{arns.issuer_of_provider(arn)}"), None)
        if provider is None:
            made = iam.create_open_id_connect_provider(Url=issuer, ClientIDList=[AUDIENCE])
            provider = str(made["OpenIDConnectProviderArn"])
        statement = build.web_identity_statement(
            sid="Job",
            provider_arn=provider,
            issuer=issuer,
            subjects=[f"system:serviceaccount:{namespace}:{account}"],
            audience=AUDIENCE,
        )
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(build.policy([statement])))
        iam.put_role_policy(RoleName=name, PolicyName=INLINE, PolicyDocument=json.dumps(_document(policy)))
        return str(role["Role"]["Arn"])


def remove(administrator: Mapping[str, str], name: str) -> None:
    with clients(administrator, "iam") as (iam,):
        iam.delete_role_policy(RoleName=name, PolicyName=INLINE)
        iam.delete_role(RoleName=name)


def environment(
    administrator: Mapping[str, str], *, role_arn: str, token: str, file: Path, session: str
) -> dict[str, str]:
    """A job's environment: the token, in a file only its owner reads, and the role's name; no key, nothing of a profile."""
    file.touch(mode=0o600)
    file.write_text(token, encoding="ascii")
    return {
        **{key: value for key, value in administrator.items() if key not in ADMINISTRATORS},
        "AWS_ROLE_ARN": role_arn,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_SESSION_NAME": session,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _document(policy: Policy) -> dict[str, Any]:
    if isinstance(policy, Mapping):
        return dict(policy) if "Statement" in policy else build.policy([policy])
    return build.policy(list(policy))
