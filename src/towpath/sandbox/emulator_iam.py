"""What the emulator's IAM forgets, kept: users' permissions boundaries, who is limited by a policy, a renamed user's tags.

Added to the emulator's own classes, so that a journal's replay and a reset treat it as the rest of IAM. What a parameter may be the
gate has checked before. Sources: PutUserPermissionsBoundary, ListEntitiesForPolicy, ListPolicies and UpdateUser in the IAM API reference.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

BOUNDARY: Final = "PermissionsBoundary"
# ListEntitiesForPolicy's EntityFilter and its answer's members, with where the emulator has them.
_ENTITIES: Final = {"User": "users", "Role": "roles", "Group": "groups"}


@lru_cache(maxsize=1)
def install() -> None:
    """Once in a process."""
    models: Any = importlib.import_module("moto.iam.models")
    responses: Any = importlib.import_module("moto.iam.responses")
    serialize: Any = importlib.import_module("moto.core.serialize")
    user, policy, answers = models.User, models.ManagedPolicy, responses.IamResponse
    user.permissions_boundary_arn = None
    user.permissions_boundary = models.Role.permissions_boundary = property(_boundary)
    policy.permissions_boundary_usage_count = property(lambda own: sum(1 for _ in _limited(own.backend, own.arn)))
    policy.attach_to = _once(policy.attach_to)
    models.IAMBackend.update_user = _with_tags(models.IAMBackend.update_user)
    answers.create_user = _bounded(answers.create_user)
    answers.put_user_permissions_boundary = _put_boundary
    answers.delete_user_permissions_boundary = _delete_boundary
    answers.list_policies = _list_policies
    answers.list_entities_for_policy = _list_entities
    answers.RESPONSE_KEY_PATH_TO_TRANSFORMER.update(
        {
            "CreateUserResponse.User.PermissionsBoundary": serialize.return_if_not_empty,
            "GetUserResponse.User.PermissionsBoundary": serialize.return_if_not_empty,
            "ListUsersResponse.Users.User.PermissionsBoundary": serialize.never_return,
            "GetGroupResponse.Users.User.PermissionsBoundary": serialize.never_return,
        }
    )


def _boundary(entity: Any) -> dict[str, str] | None:
    arn = entity.permissions_boundary_arn
    # The SDKs' model says PermissionsBoundaryPolicy; the reference's text and IAM's answers as tools print them say Policy.
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn} if arn else None


def _limited(backend: Any, arn: str) -> Iterator[Any]:
    """The users and roles whose boundary it is."""
    for entity in (*backend.users.values(), *backend.roles.values()):
        if entity.permissions_boundary_arn == arn:
            yield entity


def _once(attach: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """The emulator counts what is attached a second time as two, and then as one when it is gone."""

    def attach_to(policy: Any, entity: Any) -> None:
        if policy.arn not in entity.managed_policies:
            attach(policy, entity)

    return attach_to


def _with_tags(update: Callable[..., None]) -> Callable[..., None]:
    """The emulator keeps tags by ARN, and a new name or path makes a new one."""

    def update_user(
        backend: Any, user_name: str, new_path: str | None = None, new_user_name: str | None = None
    ) -> None:
        user = backend.get_user(user_name)
        before, tags = user.arn, backend.tagger.list_tags_for_resource(user.arn)["Tags"]
        update(backend, user_name, new_path, new_user_name)
        if user.arn != before:
            backend.tagger.delete_all_tags_for_resource(before)
            backend.tagger.tag_resource(user.arn, tags)

    return update_user


# --- operations, as methods of the emulator's IamResponse ------------------------------------------------------------


def _asked(call: Any, name: str, default: Any = None) -> Any:
    return call._get_param(name, default)


def _answer(result: dict[str, Any]) -> Any:
    responses: Any = importlib.import_module("moto.core.responses")
    return responses.ActionResult(result)


def _bounded(create: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def create_user(self: Any) -> Any:
        answer = create(self)  # serialised later
        self.backend.get_user(_asked(self, "UserName")).permissions_boundary_arn = _asked(self, BOUNDARY)
        return answer

    return create_user


def _put_boundary(self: Any) -> Any:
    self.backend.get_user(_asked(self, "UserName")).permissions_boundary_arn = _asked(self, BOUNDARY)
    return _answer({})


def _delete_boundary(self: Any) -> Any:
    self.backend.get_user(_asked(self, "UserName")).permissions_boundary_arn = None
    return _answer({})


def _list_policies(self: Any) -> Any:
    """`OnlyAttached` and `PolicyUsageFilter` each take away."""
    scope, usage = _asked(self, "Scope", "All"), _asked(self, "PolicyUsageFilter")
    only_attached = self._get_bool_param("OnlyAttached", False)
    models: Any = importlib.import_module("moto.iam.models")
    found = [
        policy
        for policy in self.backend.managed_policies.values()
        if (scope == "All" or (scope == "AWS") == isinstance(policy, models.AWSManagedPolicy))
        and (not (only_attached or usage == "PermissionsPolicy") or policy.attachment_count > 0)
        and (usage != BOUNDARY or policy.permissions_boundary_usage_count > 0)
    ]
    most = self._get_int_param("MaxItems", 100)
    page, marker = self.backend._filter_attached_policies(
        found, _asked(self, "Marker"), most, _asked(self, "PathPrefix", "/")
    )
    return _answer({"Policies": page, "Marker": marker, "IsTruncated": bool(marker)})


def _list_entities(self: Any) -> Any:
    """All of them in one page: the emulator looks at the first hundred roles only, and at no boundary."""
    arn, prefix = _asked(self, "PolicyArn"), _asked(self, "PathPrefix", "/")
    only, usage = _asked(self, "EntityFilter"), _asked(self, "PolicyUsageFilter")
    self.backend.get_policy(arn)  # raises NoSuchEntity
    limited = {id(entity) for entity in _limited(self.backend, arn)} if usage != "PermissionsPolicy" else set[int]()

    def matches(entity: Any) -> bool:
        return (usage != BOUNDARY and arn in entity.managed_policies) or id(entity) in limited

    result: dict[str, Any] = {"IsTruncated": False}
    for kind, place in _ENTITIES.items():
        everybody = getattr(self.backend, place).values() if only in {None, kind} else ()
        result[f"Policy{kind}s"] = [each for each in everybody if each.path.startswith(prefix) and matches(each)]
    return _answer(result)
