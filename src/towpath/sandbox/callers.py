"""The principal behind a key as IAM knows it now: a user renamed keeps its keys, a role made anew is not the one that was assumed."""

from __future__ import annotations

from dataclasses import replace

from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.principals import Principal


def current(principal: Principal, state: IamState, *, s3: bool) -> Principal:
    """Raises AwsError when who the credentials were given to is gone."""
    if principal.role is not None:
        role = state.role(principal.account, principal.role)
        if role is None or role.role_id != principal.role_id:
            raise _gone(f"the role {principal.role_arn} that was assumed does not exist any more", s3=s3)
        return principal
    if principal.user is None:
        return principal
    user = state.user(principal.account, principal.user)
    if user is None or principal.owner_id not in {None, user.user_id}:
        raise _gone(f"the user {principal.user} does not exist any more", s3=s3)
    if principal.session == "federated":
        return principal
    # A key's principal has the name only; path and unique id are IAM's to say.
    return replace(principal, arn=user.arn, user_id=user.user_id, owner_id=user.user_id)


def _gone(why: str, *, s3: bool) -> AwsError:
    if s3:
        return AwsError("AccessDenied", "Access Denied", 403, why=why)
    return AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403, why=why)
