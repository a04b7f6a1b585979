"""The AWS edge: clients with the caller's own credentials and endpoints, and every refusal turned into words.

botocore is used without boto3 on top: the command starts sooner, and nothing of boto3's is needed. Endpoints are regional; STS's too
(AWS_STS_REGIONAL_ENDPOINTS is regional by default in every current SDK). Throttling is retried by botocore's standard mode.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from towpath.errors import MissingPermissionError, UsageError, WorldError

T = TypeVar("T")

ACCESS_DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
)
BAD_CREDENTIALS: Final = frozenset(
    {
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "AuthFailure",
        "IncompleteSignature",
    }
)
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
# What IAM answers for a while after a role, policy or provider was made elsewhere: worth asking again.
EVENTUAL: Final = frozenset({"NoSuchEntity", "ConcurrentModification", "EntityTemporarilyUnmodifiable"})
SERVICES: Final = ("eks", "iam", "s3", "sts")
ATTEMPTS: Final = 6
FIRST_WAIT: Final = 0.2  # seconds; doubled each time


class Aws:
    """Clients for one region. Thread-safe: botocore's clients are, and making them is serialised."""

    def __init__(self, region: str, *, before_write: Callable[[str], None] | None = None) -> None:
        self.region = region
        self.before_write = before_write  # called with the operation's name before each change; tests stop there
        self._session: Any = botocore.session.Session()
        try:
            self._session.register_component("data_loader", _loader(self._session))
        except BotoCoreError as error:
            raise _local(error, region) from None
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                config = Config(
                    retries={"mode": "standard", "total_max_attempts": 5},
                    connect_timeout=5,
                    read_timeout=30,
                    user_agent_extra="towpath",
                )
                try:
                    self._clients[service] = self._session.create_client(
                        service, region_name=self.region, config=config
                    )
                except (BotoCoreError, ValueError) as error:
                    raise _local(error, self.region) from None
            return self._clients[service]

    def unsigned_sts(self, timeout: float = 10) -> Any:
        """STS without credentials, as the exchange is made: one try, so that its first answer is the one that counts."""
        config = Config(
            signature_version=UNSIGNED, retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=timeout
        )
        return self._session.create_client("sts", region_name=self.region, config=config)

    def under(self, service: str, credentials: dict[str, str]) -> Any:
        """A client with temporary credentials; S3 in path style when an endpoint was set by hand, as such endpoints have one name."""
        return self._session.create_client(
            service,
            region_name=self.region,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
            config=Config(retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=15),
        )

    def read(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """One reading call. Raises MissingPermissionError, WorldError, or Missing when the thing is not there."""
        with _worded(service, operation, self.region):
            return getattr(self.client(service), operation)(**arguments)

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> list[Any]:
        with _worded(service, operation, self.region):
            return [
                item
                for page in self.client(service).get_paginator(operation).paginate(**arguments)
                for item in page[key]
            ]

    def write(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """One changing call. What IAM has not seen yet is tried again, for a little over six seconds in all."""
        wait = FIRST_WAIT
        for attempt in range(ATTEMPTS):
            if self.before_write is not None:
                self.before_write(operation)
            try:
                with _worded(service, operation, self.region):
                    return getattr(self.client(service), operation)(**arguments)
            except (Missing, Unsettled):
                if attempt + 1 == ATTEMPTS or operation.startswith(("delete", "detach", "remove")):
                    raise
            time.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")


def _loader(session: Any) -> Any:
    """The session's loader, told which services there are: to find out it reads some 850 directories, at every start."""
    loader = session.get_component("data_loader")

    def known(_type_name: str) -> list[str]:
        return list(SERVICES)

    loader.list_available_services = known
    return loader


class Missing(WorldError):
    """What was asked for is not there (NoSuchEntity, ResourceNotFoundException, …)."""


class Unsettled(WorldError):
    """IAM is still settling an earlier change to the same thing."""


class Exists(WorldError):
    """What was to be made is there already (EntityAlreadyExists): somebody was quicker."""


@contextmanager
def _worded(service: str, operation: str, region: str) -> Generator[None]:
    try:
        yield
    except ClientError as error:
        raise _refused(error, service, operation) from None
    except BotoCoreError as error:
        raise _local(error, region) from None


def action_name(service: str, operation: str) -> str:
    """`get_role` of iam -> `iam:GetRole`."""
    special = {
        "list_open_id_connect_providers": "ListOpenIDConnectProviders",
        "get_open_id_connect_provider": "GetOpenIDConnectProvider",
    }
    name = special.get(operation) or "".join(part.capitalize() for part in operation.split("_")).replace(
        "OpenId", "OpenID"
    ).replace("ClientId", "ClientID")
    return f"{service}:{name}"


def _refused(error: ClientError, service: str, operation: str) -> WorldError:
    detail: dict[str, Any] = dict(error.response.get("Error", {}))
    code, message = str(detail.get("Code", "")), str(detail.get("Message", ""))
    action = action_name(service, operation)
    if code in ACCESS_DENIED:
        return MissingPermissionError(action, where=f"AWS {service}", detail=message)
    if code in EXPIRED:
        return WorldError(
            "the AWS credentials have expired",
            where=action,
            todo="sign in again (aws sso login, or new credentials), then run the same command",
        )
    if code in BAD_CREDENTIALS:
        return WorldError(
            f"AWS does not accept the credentials: {code}: {message}",
            where=action,
            todo="check which are used with `aws sts get-caller-identity`, and that AWS_REGION's partition is theirs",
        )
    if code in {"NoSuchEntity", "ResourceNotFoundException", "NoSuchBucket"}:
        return Missing(message or code, where=action)
    if code == "EntityAlreadyExists":
        return Exists(message, where=action)
    if code in EVENTUAL or (code == "MalformedPolicyDocument" and "Invalid principal" in message):
        return Unsettled(message, where=action)
    return WorldError(
        f"{code}: {message}", where=action, todo="see the message; run the same command again once it is settled"
    )


def _local(error: Exception, region: str) -> WorldError | UsageError:
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return WorldError(
            "there are no AWS credentials",
            where="the environment, ~/.aws, or the instance's role",
            todo="sign in with `aws sso login` or set AWS_PROFILE, then check with `aws sts get-caller-identity`",
        )
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError, HTTPClientError)):
        return WorldError(
            f"AWS cannot be reached: {error}",
            where=f"region {region}",
            todo="check the region's spelling, the network and AWS_ENDPOINT_URL",
        )
    if isinstance(error, ProfileNotFound):
        return UsageError(
            f"there is no AWS profile {error.kwargs.get('profile')}",
            where="AWS_PROFILE",
            todo="name one of `aws configure list-profiles`, or unset AWS_PROFILE",
        )
    if isinstance(error, (ConfigParseError, ConfigNotFound)):
        return UsageError(
            "the AWS configuration cannot be read as INI",
            where=str(error.kwargs.get("path")),
            todo="correct the file, or name another with AWS_CONFIG_FILE",
        )
    if isinstance(error, NoRegionError):
        return UsageError("no region is given", where="--region", todo="give --region, or set AWS_REGION")
    return WorldError(
        f"the AWS SDK says: {error}", where="AWS configuration", todo="check AWS_PROFILE, ~/.aws/config and the region"
    )
