"""A provider's client ids, added and removed: two operations the emulator does not have.

The provider is made anew with the other list, under the same ARN, with its thumbprints and tags; the account's writes wait meanwhile.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from towpath.sandbox.backend import Backend
from towpath.sandbox.errors import IAM_NAMESPACE, AwsError
from towpath.sandbox.wire import Response

OPERATIONS: Final = ("AddClientIDToOpenIDConnectProvider", "RemoveClientIDFromOpenIDConnectProvider")


def answer(backend: Backend, operation: str, parameters: Mapping[str, Any], *, account: str, region: str) -> Response:
    """Both are idempotent: adding what is there, or removing what is not, is no error (IAM API reference)."""
    iam: Any = backend.client("iam", account=account, region=region)
    arn, client_id = str(parameters.get("OpenIDConnectProviderArn", "")), str(parameters.get("ClientID", ""))
    try:
        found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    except iam.exceptions.NoSuchEntityException:
        raise AwsError("NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}", 404) from None
    before = list(found.get("ClientIDList", ()))
    if operation == OPERATIONS[0]:
        after = before if client_id in before else [*before, client_id]
    else:
        after = [item for item in before if item != client_id]
    if after != before:
        url = str(found["Url"])
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        iam.create_open_id_connect_provider(
            Url=url if url.startswith("https://") else f"https://{url}",
            ClientIDList=after,
            ThumbprintList=list(found.get("ThumbprintList", ())),
            Tags=list(found.get("Tags", ())),
        )
    request_id = str(uuid.uuid4())
    text = f'<{operation}Response xmlns="{IAM_NAMESPACE}"><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>'
    return Response(
        status=200, headers=[("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)], body=text.encode()
    )
