"""A world is what both sides are asked about: every policy that speaks of some requests, and the requests. Plain JSON inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from towpath.iam.context import Context
from towpath.iam.decide import Caller, Decision, NamedPolicy, PolicySet, Request, decide
from towpath.iam.policy import PolicyKind, parse_policy

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request. `principal` is the text the engine knows the caller by; None is anonymous."""

    action: str
    resource: str
    account: str  # the resource's
    principal: str | None
    context: Mapping[str, str | list[str]] = field(default_factory=dict[str, "str | list[str]"])
    role_arn: str | None = None  # of an assumed-role session

    def caller(self) -> Caller:
        text = self.principal
        if text is None:
            return Caller()
        if not text.startswith("arn:"):
            return Caller(service=text)
        account = text.split(":")[4]
        if ":oidc-provider/" in text or ":saml-provider/" in text:
            return Caller(federated=text, account=account)
        return Caller(arn=text, account=account, role_arn=self.role_arn)


@dataclass(frozen=True, kw_only=True)
class World:
    """Policies as documents, kind by kind, and what is asked of them."""

    identity: tuple[Document, ...] = ()
    resource: Document | None = None
    boundary: Document | None = None
    session: tuple[Document, ...] | None = None
    scps: tuple[tuple[Document, ...], ...] = ()
    rcps: tuple[tuple[Document, ...], ...] = ()
    endpoint: Document | None = None
    trust: bool = False  # the resource policy is a role's trust policy
    requests: tuple[Asked, ...] = ()

    def as_json(self) -> dict[str, Any]:
        fields = ("identity", "resource", "boundary", "session", "scps", "rcps", "endpoint", "trust")
        return {**{name: getattr(self, name) for name in fields}, "requests": [vars(asked) for asked in self.requests]}

    def alone(self, asked: Asked) -> World:
        """The same policies, one request."""
        return replace(self, requests=(asked,))

    def documents(self) -> Iterator[tuple[str, Document]]:
        """(kind, document) of every policy."""
        yield from (("identity", document) for document in self.identity)
        yield from (("session", document) for document in self.session or ())
        for kind, levels in (("scp", self.scps), ("rcp", self.rcps)):
            yield from ((kind, document) for level in levels for document in level)
        named = {"resource": self.resource, "boundary": self.boundary, "endpoint": self.endpoint}
        yield from ((kind, document) for kind, document in named.items() if document is not None)

    def statements(self) -> Iterator[tuple[str, Document, Mapping[str, Any]]]:
        """(kind, document, statement) of every statement."""
        for kind, document in self.documents():
            found = document["Statement"]
            for statement in found if isinstance(found, list) else [found]:
                yield kind, document, statement

    def conditions(self) -> Iterator[tuple[Document, str, str, list[str]]]:
        """(document, operator, key, values) of every condition."""
        for _, document, statement in self.statements():
            for operator, keys in statement.get("Condition", {}).items():
                for key, values in keys.items():
                    found = values if isinstance(values, list) else [values]
                    yield document, operator, key, [str(value) for value in found]


def decisions(world: World) -> list[Decision]:
    """What towpath decides on each request."""

    def named(document: Document, kind: PolicyKind) -> NamedPolicy:
        return NamedPolicy(name="policy", document=parse_policy(document, kind=kind))

    def one(document: Document | None, kind: PolicyKind) -> NamedPolicy | None:
        return None if document is None else named(document, kind)

    def levels(found: tuple[tuple[Document, ...], ...], kind: PolicyKind) -> tuple[tuple[NamedPolicy, ...], ...]:
        return tuple(tuple(named(document, kind) for document in level) for level in found)

    session = None if world.session is None else tuple(named(each, PolicyKind.SESSION) for each in world.session)
    policies = PolicySet(
        identity=tuple(named(each, PolicyKind.IDENTITY) for each in world.identity),
        resource=one(world.resource, PolicyKind.TRUST if world.trust else PolicyKind.RESOURCE),
        boundary=one(world.boundary, PolicyKind.BOUNDARY),
        session=session,
        scps=levels(world.scps, PolicyKind.SCP),
        rcps=levels(world.rcps, PolicyKind.RCP),
        endpoint=one(world.endpoint, PolicyKind.ENDPOINT),
    )
    return [
        decide(
            Request(
                action=asked.action, resource=asked.resource, caller=asked.caller(), context=Context(asked.context)
            ),
            replace(policies, resource_account=asked.account),
        )
        for asked in world.requests
    ]
