"""Policy documents, parsed and validated as IAM validates them before it stores one.

Sources: "Grammar of the IAM JSON policy language", "AWS JSON policy elements: NotPrincipal" and "Amazon Resource Names (ARNs)", IAM
User Guide; "SCP syntax" and "RCP syntax", Organizations User Guide. Per kind: policies of an identity (boundaries, session policies and
SCPs too) name no principal, trust policies no resource, RCPs deny everybody.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from towpath.iam import grammar
from towpath.iam.conditions import CompiledCondition, ConditionError, compile_condition
from towpath.iam.document import PolicyError, parse_json
from towpath.iam.statement import PolicyDocument, PolicyKind, Statement

__all__ = ["PolicyDocument", "PolicyError", "PolicyKind", "Statement", "parse_policy"]

_FEDERATED: Final = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:(oidc-provider|saml-provider)/\S+")
_FEDERATED_NAMES: Final = frozenset(
    {"accounts.google.com", "www.amazon.com", "graph.facebook.com", "cognito-identity.amazonaws.com"}
)
# Policies without a Principal: they speak of whom they are attached to.
_UNNAMED: Final = frozenset({PolicyKind.IDENTITY, PolicyKind.BOUNDARY, PolicyKind.SESSION, PolicyKind.SCP})
# "Using an incomplete ARN in a session policy will result in a MalformedPolicyDocumentException error."
_COMPLETED: Final = frozenset({PolicyKind.IDENTITY, PolicyKind.BOUNDARY})
_ORGANIZATION: Final = frozenset({PolicyKind.SCP, PolicyKind.RCP})
_FULL_ACCESS: Final[Mapping[str, object]] = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
_AWS_PRINCIPAL: Final = re.compile(r"[0-9]{12}|arn:[a-z-]+:(iam|sts)::([0-9]{12}|cloudfront):\S+|[A-Z0-9]{16,128}")


def parse_policy(
    document: str | bytes | Mapping[str, Any], *, kind: PolicyKind, name: str = "policy document"
) -> PolicyDocument:
    """Parse and validate. Raises PolicyError with the path inside the document and the reason."""
    value = document if isinstance(document, Mapping) else parse_json(document, name=name)
    return _Parser(kind, name).document(value)


class _Parser:
    def __init__(self, kind: PolicyKind, name: str) -> None:
        self.kind = kind
        self.name = name

    def refuse(self, reason: str, path: str) -> PolicyError:
        return PolicyError(reason, name=self.name, path=path)

    def document(self, value: object) -> PolicyDocument:
        if not isinstance(value, Mapping):
            raise self.refuse(f"a policy is a JSON object, this is {_kind(value)}", "")
        source = cast("Mapping[str, Any]", value)
        self._known(source, grammar.DOCUMENT_ELEMENTS, "")
        version = source.get("Version", "2008-10-17")  # IAM's default, and the reason a missing Version loses variables
        if version not in grammar.VERSIONS:
            raise self.refuse(
                f"{_shown(version)} is not a version of the policy language; it is 2012-10-17 or 2008-10-17", "Version"
            )
        if self.kind in _ORGANIZATION and source.get("Version") != "2012-10-17":
            raise self.refuse(f"an {self.kind.upper()} has a Version element, and its value is 2012-10-17", "Version")
        if "Statement" not in source:
            raise self.refuse("the policy has no Statement", "Statement")
        raw = source["Statement"]
        items = cast("list[object]", raw) if isinstance(raw, list) else [raw]
        if not items:
            raise self.refuse("the list of statements is empty", "Statement")
        statements: list[Statement] = []
        sids: set[str] = set()
        for index, item in enumerate(items):
            path = f"Statement[{index}]" if isinstance(raw, list) else "Statement"
            statement = self.statement(item, index, path, variables=version == "2012-10-17")
            if statement.sid and statement.sid in sids:
                raise self.refuse(
                    f"the Sid {statement.sid!r} is used twice; a Sid is unique in its policy", f"{path}.Sid"
                )
            sids.add(statement.sid)
            statements.append(statement)
        policy_id = source.get("Id")
        if policy_id is not None and not isinstance(policy_id, str):
            raise self.refuse("Id is a string", "Id")
        return PolicyDocument(
            kind=self.kind, version=str(version), id=policy_id, statements=tuple(statements), source=source
        )

    def statement(self, value: object, index: int, path: str, *, variables: bool) -> Statement:
        if not isinstance(value, Mapping):
            raise self.refuse(f"a statement is a JSON object, this is {_kind(value)}", path)
        source = cast("Mapping[str, Any]", value)
        self._known(source, grammar.STATEMENT_ELEMENTS, path)
        effect = source.get("Effect")
        if effect not in ("Allow", "Deny"):  # a tuple: a list or an object has no place in a set
            raise self.refuse(
                "Effect is missing" if effect is None else f"Effect is Allow or Deny, not {_shown(effect)}",
                f"{path}.Effect",
            )
        sid = source.get("Sid", "")
        if not isinstance(sid, str):
            raise self.refuse("Sid is a string", f"{path}.Sid")
        if self.kind in _UNNAMED and not grammar.IDENTITY_SID.fullmatch(sid):
            raise self.refuse(f"the Sid {sid!r} holds more than letters and digits", f"{path}.Sid")
        self._exactly_one(source, "Action", "NotAction", path)
        self._principal_rules(source, path)
        self._resource_rules(source, path)
        if self.kind is PolicyKind.RCP:
            self._rcp_rules(source, path)
        return Statement(
            index=index,
            sid=sid,
            effect=str(effect),
            principals=self._principals(source, "Principal", path),
            not_principals=self._principals(source, "NotPrincipal", path),
            actions=self._actions(source, "Action", path),
            not_actions=self._actions(source, "NotAction", path),
            resources=self._resources(source, "Resource", path),
            not_resources=self._resources(source, "NotResource", path),
            conditions=self._conditions(source.get("Condition", {}), f"{path}.Condition", variables=variables),
            source=source,
            variables=variables,
        )

    def _known(self, source: Mapping[str, Any], elements: tuple[str, ...], path: str) -> None:
        for key in source:
            if key not in elements:
                near = difflib.get_close_matches(key, elements, n=1, cutoff=0.5) or [
                    e for e in elements if e.lower() == key.lower()
                ]
                hint = f"; did you mean {near[0]}?" if near else f"; the elements are {', '.join(elements)}"
                raise self.refuse(f"{key!r} is no element here{hint}", f"{path}.{key}" if path else key)

    def _exactly_one(self, source: Mapping[str, Any], one: str, other: str, path: str) -> None:
        if one in source and other in source:
            raise self.refuse(f"{one} and {other} exclude each other", path)
        if one not in source and other not in source:
            raise self.refuse(f"the statement has neither {one} nor {other}", path)

    def _principal_rules(self, source: Mapping[str, Any], path: str) -> None:
        present = [key for key in ("Principal", "NotPrincipal") if key in source]
        if self.kind in _UNNAMED:
            if present:
                word = "SCP" if self.kind is PolicyKind.SCP else f"{self.kind} policy"
                article = "an" if word[0] in "iS" else "a"
                raise self.refuse(
                    f"{article} {word} names no principal: it speaks of whom it is attached to", f"{path}.{present[0]}"
                )
            return
        self._exactly_one(source, "Principal", "NotPrincipal", path)
        if present == ["NotPrincipal"]:
            where = f"{path}.NotPrincipal"
            if source.get("Effect") == "Allow":
                raise self.refuse("Allow with NotPrincipal would trust everybody else; IAM does not support it", where)
            if self.kind in {PolicyKind.TRUST, PolicyKind.RCP}:
                word = "a trust policy" if self.kind is PolicyKind.TRUST else "an RCP"
                raise self.refuse(f"{word} has no NotPrincipal; name whom it speaks of, or use a condition", where)

    def _rcp_rules(self, source: Mapping[str, Any], path: str) -> None:
        """An RCP denies everybody, except the one AWS attaches itself, RCPFullAWSAccess ("RCP syntax")."""
        if all(source.get(key) == value for key, value in _FULL_ACCESS.items()) and "Condition" not in source:
            return
        if source.get("Effect") == "Allow":
            raise self.refuse("only AWS's own RCPFullAWSAccess allows; every other RCP denies", f"{path}.Effect")
        if source.get("Principal") != "*":
            raise self.refuse('the Principal of an RCP is "*"; name principals in its conditions', f"{path}.Principal")
        if "NotAction" in source:
            raise self.refuse("an RCP has no NotAction", f"{path}.NotAction")
        actions = source.get("Action")
        if actions == "*" or (isinstance(actions, list) and "*" in actions):
            raise self.refuse("the actions of an RCP name their service, as s3:*", f"{path}.Action")

    def _resource_rules(self, source: Mapping[str, Any], path: str) -> None:
        present = [key for key in ("Resource", "NotResource") if key in source]
        if self.kind is PolicyKind.TRUST:
            if present:
                raise self.refuse(
                    "a trust policy has no Resource: the role it belongs to is the resource", f"{path}.{present[0]}"
                )
            return
        self._exactly_one(source, "Resource", "NotResource", path)

    def _principals(self, source: Mapping[str, Any], element: str, path: str) -> tuple[tuple[str, str], ...] | None:
        if element not in source:
            return None
        value = source[element]
        where = f"{path}.{element}"
        if value == "*":
            return (("*", "*"),)
        if not isinstance(value, Mapping) or not value:
            raise self.refuse('a principal is "*" or an object such as {"Federated": ARN}', where)
        out: list[tuple[str, str]] = []
        for kind, names in cast("Mapping[str, Any]", value).items():
            if kind not in grammar.PRINCIPAL_TYPES:
                near = difflib.get_close_matches(kind, grammar.PRINCIPAL_TYPES, n=1, cutoff=0.4)
                raise self.refuse(
                    f"{kind!r} is no type of principal"
                    + (
                        f"; did you mean {near[0]}?"
                        if near
                        else f"; the types are {', '.join(grammar.PRINCIPAL_TYPES)}"
                    ),
                    f"{where}.{kind}",
                )
            for name in self._strings(names, f"{where}.{kind}"):
                self._principal(kind, name, f"{where}.{kind}")
                out.append((kind, name))
        return tuple(out)

    def _principal(self, kind: str, name: str, where: str) -> None:
        if name == "*":
            if kind in {"Federated", "Service"}:
                raise self.refuse(f'"*" is not a {kind} principal; name it', where)
            return
        if "*" in name or "?" in name:
            raise self.refuse(f"{name!r} holds a wildcard; a principal is named whole or is the single *", where)
        if kind == "Federated" and not (_FEDERATED.fullmatch(name) or name in _FEDERATED_NAMES):
            raise self.refuse(
                f"{name!r} is not a federated principal: it is the ARN of an OIDC or SAML provider, arn:PARTITION:iam::ACCOUNT:oidc-provider/HOST/PATH",
                where,
            )
        if kind == "AWS" and not _AWS_PRINCIPAL.fullmatch(name):
            raise self.refuse(
                f"{name!r} is not an AWS principal: it is an account's twelve digits or an IAM ARN", where
            )
        if kind == "Service" and not re.fullmatch(r"[a-z0-9.-]+\.[a-z0-9.-]+", name):
            raise self.refuse(f"{name!r} is not a service principal, as ec2.amazonaws.com is", where)

    def _actions(self, source: Mapping[str, Any], element: str, path: str) -> tuple[str, ...] | None:
        if element not in source:
            return None
        where = f"{path}.{element}"
        found = self._strings(source[element], where)
        for action in found:
            if not grammar.ACTION.fullmatch(action):
                raise self.refuse(f"{action!r} is not an action: it is SERVICE:Action, as s3:GetObject, or *", where)
            if self.kind is PolicyKind.TRUST and not re.match(r"\*$|sts:", action, re.IGNORECASE):
                raise self.refuse(
                    f"{action!r} cannot stand in a trust policy: its actions are STS's, as sts:AssumeRoleWithWebIdentity",
                    where,
                )
        return found

    def _resources(self, source: Mapping[str, Any], element: str, path: str) -> tuple[str, ...] | None:
        if element not in source:
            return None
        where = f"{path}.{element}"
        found = self._strings(source[element], where)
        for resource in found:
            if not grammar.RESOURCE.fullmatch(resource) and not self._short(resource):
                raise self.refuse(
                    f"{resource!r} is not a resource: it is an ARN, as arn:aws:s3:::bucket/*, or *", where
                )
        return found

    def _short(self, resource: str) -> bool:
        """Whether this kind of policy takes an ARN of fewer than six fields: of an identity, or with a * at its end.

        The second is another simulator's reading; no page of AWS has it.
        """
        if not grammar.SHORT_RESOURCE.fullmatch(resource):
            return False
        return self.kind in _COMPLETED or (
            resource.endswith("*") and self.kind not in {PolicyKind.SESSION, PolicyKind.RCP}
        )

    def _conditions(self, value: object, path: str, *, variables: bool) -> tuple[CompiledCondition, ...]:
        if not isinstance(value, Mapping):
            raise self.refuse("Condition is an object of operators", path)
        out: list[CompiledCondition] = []
        for operator, keys in cast("Mapping[str, Any]", value).items():
            where = f"{path}.{operator}"
            if grammar.split_operator(operator) is None:
                near = difflib.get_close_matches(operator, grammar.OPERATORS, n=1, cutoff=0.5)
                raise self.refuse(
                    f"{operator!r} is no condition operator" + (f"; did you mean {near[0]}?" if near else ""), where
                )
            if not isinstance(keys, Mapping) or not keys:
                raise self.refuse("an operator holds an object of condition keys and their values", where)
            for key, values in cast("Mapping[str, Any]", keys).items():
                out.append(self._condition(operator, key, values, f"{where}.{key}", variables=variables))
        return tuple(out)

    def _condition(self, operator: str, key: str, values: object, where: str, *, variables: bool) -> CompiledCondition:
        if not key.strip():
            raise self.refuse("a condition key is empty", where)
        items = cast("list[object]", values) if isinstance(values, list) else [values]
        texts: list[str] = []
        for item in items:
            if isinstance(item, bool):
                texts.append("true" if item else "false")
            elif isinstance(item, (str, int, float)):
                texts.append(str(item))
            else:
                raise self.refuse(
                    f"a condition's value is a string, a number, a boolean or a list of these, not {_kind(item)}", where
                )
        try:
            return compile_condition(operator, key, tuple(texts), variables=variables)
        except ConditionError as error:
            raise self.refuse(str(error), where) from None

    def _strings(self, value: object, where: str) -> tuple[str, ...]:
        items = cast("list[object]", value) if isinstance(value, list) else [value]
        if not items:
            raise self.refuse("the list is empty", where)
        for item in items:
            if not isinstance(item, str):
                raise self.refuse(f"a string or a list of strings is wanted, not {_kind(item)}", where)
            if not item:
                raise self.refuse("an empty string", where)
        return tuple(cast("list[str]", items))


def _shown(value: object) -> str:
    """A value in a message: a text as it stands, anything else by its kind, however deep it is."""
    return repr(value[:80]) if isinstance(value, str) else _kind(value)


def _kind(value: object) -> str:
    names: dict[type[object], str] = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names.get(type(value), f"a Python {type(value).__name__}")
