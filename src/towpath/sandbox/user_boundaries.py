"""Users' permissions boundaries, which moto does not have: added to its IAM, so that they are kept, replayed and forgotten with the user.

Source: "Permissions boundaries for IAM entities" (IAM User Guide); PutUserPermissionsBoundary, GetUser and ListUsers (IAM API reference).
"""

from __future__ import annotations

import importlib
from typing import Any


def install() -> None:
    """Once; a moto that has them is left alone."""
    responses: Any = importlib.import_module("moto.iam.responses")
    serialize: Any = importlib.import_module("moto.core.serialize")
    core: Any = importlib.import_module("moto.core.responses")
    kind = responses.IamResponse
    if hasattr(kind, "put_user_permissions_boundary"):
        return
    create = kind.create_user

    def create_user(self: Any) -> Any:
        answer = create(self)
        _bound(self)
        return answer  # written out after this, with the boundary

    def put(self: Any) -> Any:
        _bound(self)
        return core.EmptyResult()

    def delete(self: Any) -> Any:
        _user(self).permissions_boundary = None
        return core.EmptyResult()

    kind.create_user = create_user
    kind.put_user_permissions_boundary = put
    kind.delete_user_permissions_boundary = delete
    for answer in ("CreateUserResponse.User", "GetUserResponse.User"):
        kind.RESPONSE_KEY_PATH_TO_TRANSFORMER[f"{answer}.PermissionsBoundary"] = serialize.return_if_not_empty
    kind.RESPONSE_KEY_PATH_TO_TRANSFORMER["ListUsersResponse.Users.User.PermissionsBoundary"] = serialize.never_return


def _user(call: Any) -> Any:
    return call.backend.get_user(call._get_param("UserName"))


def _bound(call: Any) -> None:
    arn = call._get_param("PermissionsBoundary")
    if arn:
        _user(call).permissions_boundary = {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": arn,
        }
