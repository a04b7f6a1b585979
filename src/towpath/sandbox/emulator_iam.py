"""What the emulator's IAM forgets, kept: users' permissions boundaries, who is limited by a policy, a renamed user's tags and keys, …

Added to the emulator's own classes, so that a journal's replay and a reset treat it as the rest of IAM. What a parameter may be the
gate has checked before; what is forgotten and not kept here it refuses (`forgotten`). Sources: the operations' pages in the IAM API
reference; "Tags for AWS Identity and Access Management resources", IAM User Guide (keys are the same whatever their case).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, wraps
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
    _change_backend(models.IAMBackend)
    answers.create_user = _bounded(answers.create_user)
    answers.create_login_profile = _with_reset(answers.create_login_profile)
    answers.put_user_permissions_boundary = _put_boundary
    answers.delete_user_permissions_boundary = _delete_boundary
    answers.list_policies = _list_policies
    answers.list_entities_for_policy = _list_entities
    answers.list_instance_profile_tags = _list_instance_profile_tags
    answers.list_groups = _under_prefix(answers.list_groups, "Groups")
    answers.list_instance_profiles = _under_prefix(answers.list_instance_profiles, "InstanceProfiles")
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


def _change_backend(backend: Any) -> None:
    backend.update_user = _renaming(backend.update_user)
    backend.update_group = _moving(backend.update_group)
    backend.update_role = _describing(backend.update_role)
    for kind, read in _TAGS.items():
        tag, untag = getattr(backend, f"tag_{kind}"), getattr(backend, f"untag_{kind}")
        setattr(backend, f"tag_{kind}", _tagging(tag, untag, read))
        setattr(backend, f"untag_{kind}", _untagging(untag, read))


def _renaming(update: Callable[..., None]) -> Callable[..., None]:
    """The emulator keeps tags by ARN, and a key's user by name: a new name or path makes others of them."""

    def update_user(
        backend: Any, user_name: str, new_path: str | None = None, new_user_name: str | None = None
    ) -> None:
        user = backend.get_user(user_name)
        before, tags = user.arn, backend.tagger.list_tags_for_resource(user.arn)["Tags"]
        update(backend, user_name, new_path, new_user_name)
        if user.arn != before:
            backend.tagger.delete_all_tags_for_resource(before)
            backend.tagger.tag_resource(user.arn, tags)
        for key in user.access_keys:
            key.user_name = user.name

    return update_user


def _moving(update: Callable[..., None]) -> Callable[..., None]:
    """The emulator gives a group a new path only together with a new name."""

    def update_group(backend: Any, group_name: str, new_group_name: str | None, new_path: str | None) -> None:
        if new_path and not new_group_name:
            backend.get_group(group_name).path = new_path
        update(backend, group_name, new_group_name, new_path)

    return update_group


def _describing(update: Callable[..., Any]) -> Callable[..., Any]:
    """A description that is not given stays; MaxSessionDuration goes back to an hour, as UpdateRole's page has it."""

    def update_role(backend: Any, role_name: str, role_description: str | None, max_session_duration: str) -> Any:
        before = backend.get_role(role_name).description
        return update(
            backend, role_name, before if role_description is None else role_description, max_session_duration
        )

    return update_role


# What the emulator compares with case: how to read the tags that are there. (Policies' and providers' it keeps in lower case.)
_TAGS: Final[Mapping[str, Callable[[Any, str], list[dict[str, str]]]]] = {
    "role": lambda backend, name: backend.get_role(name).tags,
    "user": lambda backend, name: backend.list_user_tags(name),
    "instance_profile": lambda backend, name: backend.get_instance_profile(name).tags,
}


def _tagging(tag: Callable[..., None], untag: Callable[..., None], read: Callable[..., Any]) -> Callable[..., None]:
    def tagged(backend: Any, *arguments: Any, **named: Any) -> None:
        name, tags = (*arguments, *named.values())
        old = _same(read(backend, name), [each["Key"] for each in tags])
        if old:
            untag(backend, name, old)
        tag(backend, name, tags)

    return tagged


def _untagging(untag: Callable[..., None], read: Callable[..., Any]) -> Callable[..., None]:
    def untagged(backend: Any, *arguments: Any, **named: Any) -> None:
        name, keys = (*arguments, *named.values())
        untag(backend, name, _same(read(backend, name), keys))

    return untagged


def _same(tags: Iterable[dict[str, str]], keys: Iterable[str]) -> list[str]:
    """The keys of `tags` that are one of `keys` in some case."""
    wanted = {key.lower() for key in keys}
    return [tag["Key"] for tag in tags if tag["Key"].lower() in wanted]


# --- operations, as methods of the emulator's IamResponse ------------------------------------------------------------


def _asked(call: Any, name: str, default: Any = None) -> Any:
    return call._get_param(name, default)


def _answer(result: dict[str, Any]) -> Any:
    responses: Any = importlib.import_module("moto.core.responses")
    return responses.ActionResult(result)


def _bounded(create: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(create)
    def create_user(self: Any) -> Any:
        answer = create(self)  # serialised later
        self.backend.get_user(_asked(self, "UserName")).permissions_boundary_arn = _asked(self, BOUNDARY)
        return answer

    return create_user


def _with_reset(create: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """PasswordResetRequired is taken at an update alone."""

    @wraps(create)
    def create_login_profile(self: Any) -> Any:
        create(self)
        asked = self._get_bool_param("PasswordResetRequired", False)
        self.backend.get_user(_asked(self, "UserName")).password_reset_required = asked
        return self.get_login_profile()

    return create_login_profile


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


def _list_instance_profile_tags(self: Any) -> Any:
    tags = self.backend.get_instance_profile(_asked(self, "InstanceProfileName")).tags
    return _answer({"Tags": tags, "IsTruncated": False})


def _under_prefix(every: Callable[[Any], Any], member: str) -> Callable[[Any], Any]:
    """The emulator lists all of them, whatever PathPrefix says."""

    @wraps(every)
    def listed(self: Any) -> Any:
        found, prefix = every(self).result, _asked(self, "PathPrefix", "/")
        return _answer({**found, member: [each for each in found[member] if each.path.startswith(prefix)]})

    return listed
