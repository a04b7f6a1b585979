"""A session opened: new temporary credentials, and the principal they stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from towpath.sandbox import contexts
from towpath.sandbox.iam_state import Role
from towpath.sandbox.principals import Key, Keys, Principal
from towpath.sandbox.sts.asked import Asked
from towpath.sandbox.sts.session import Carried


def of_role(keys: Keys, role: Role, wanted: Asked, carried: Carried) -> Key:
    """A session of `role` under the name and for the time that was asked for."""
    account, now = wanted.role_arn.account, datetime.now(UTC)
    tags = carried.every_tag
    principal = Principal(
        arn=f"arn:{wanted.role_arn.partition}:sts::{account}:assumed-role/{role.name}/{wanted.session_name}",
        account=account,
        user_id=f"{role.role_id}:{wanted.session_name}",
        role=role.name,
        role_id=role.role_id,
        role_arn=role.arn,
        session_name=wanted.session_name,
        session_policies=carried.policies,
        tags=tags,
        transitive=carried.every_transitive,
        source_identity=carried.source_identity,
        context={
            **contexts.of_session(tags=tags, source_identity=carried.source_identity, issued_at=now),
            **carried.context,
        },
    )
    return keys.issue_session(principal, now=now, expires_at=now + timedelta(seconds=wanted.duration))
