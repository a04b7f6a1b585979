"""The cases replayed on one side: everything they need made first, one wait, then request by request."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tools.aws import signing
from tools.aws.cases import Case, Role, Step
from tools.aws.side import TAG, Answer, Side
from tools.aws.signing import Signing

OBJECTS: Final = ("raw/present", "other/present")
VERSIONED: Final = "raw/versioned"
# What an answer may be only because something is not known everywhere yet.
_NOT_YET: Final = ("AccessDenied", "403", "MalformedPolicy", "MalformedPolicyDocument", "NoSuchEntity")
_DOCUMENTS: Final = {"PolicyDocument", "AssumeRolePolicyDocument", "Policy"}  # JSON in a string, where AWS takes one


@dataclass(kw_only=True)
class Replay:
    """`on_event` is told what is made and asked, one line each."""

    side: Side
    on_event: Callable[[str], None] = lambda _: None
    _sessions: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    _owners: dict[str, Side] = field(default_factory=dict[str, Side])  # of roles that are not of the first account
    _version: str = ""  # of the object in the versioned bucket

    def run(self, cases: Sequence[Case]) -> list[list[Answer]]:
        """Answers by case and step."""
        self._world()
        for number, case in enumerate(cases):
            for role in case.roles:
                self._owners[f"{number}-{role.name}"] = self._account(role)
        for number, case in enumerate(cases):
            for role in case.roles:
                self._role(number, role)
        self.on_event(f"{self.side.name}: waiting {self.side.settle:.0f} s until what was made is known everywhere")
        time.sleep(self.side.settle)
        out: list[list[Answer]] = []
        for number, case in enumerate(cases):
            self.on_event(f"{self.side.name}: {case.name}")
            out.append([self._step(number, case, step) for step in case.steps])
        return out

    def _account(self, role: Role) -> Side:
        if role.account != "other":
            return self.side
        if self.side.other is None:
            raise ValueError(f"role {role.name} is of a second account, and there is none")
        return self.side.other

    def _tags(self) -> list[dict[str, str]]:
        return [{"Key": TAG, "Value": self.side.run}]

    def _world(self) -> None:
        """One bucket with two objects and one with versions; with an issuer its provider."""
        side = self.side
        s3 = side.client("s3")
        where = {} if side.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": side.region}}
        for name in (side.bucket, side.versioned):
            self.on_event(f"{side.name}: making bucket {name}")
            s3.create_bucket(Bucket=name, **where)
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": self._tags()})
        for key in OBJECTS:
            s3.put_object(Bucket=side.bucket, Key=key, Body=b"here")
        s3.put_bucket_versioning(Bucket=side.versioned, VersioningConfiguration={"Status": "Enabled"})
        # Versioning is not known everywhere at once; an object from before has no version of its own ("Using versioning in S3 buckets").
        deadline = time.monotonic() + 3 * side.settle
        while not self._version:
            self._version = s3.put_object(Bucket=side.versioned, Key=VERSIONED, Body=b"here").get("VersionId", "")
            if not self._version and time.monotonic() >= deadline:
                raise TimeoutError(
                    f"versioning of {side.versioned} does not begin; run it again with a longer --settle"
                )
            if not self._version:
                time.sleep(2)
        s3.put_object(Bucket=side.versioned, Key=VERSIONED, Body=b"and here")
        if side.issuer is not None:
            side.client("iam").create_open_id_connect_provider(
                Url=side.issuer, ClientIDList=["sts.amazonaws.com"], Tags=self._tags()
            )

    def _role(self, number: int, role: Role) -> None:
        side = self.side
        name = f"{side.run}-{number}-{role.name}"
        self.on_event(f"{side.name}: making role {name}")
        iam = self._account(role).client("iam")
        trust = role.trust or {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:${{partition}}:iam::{self._account(role).account}:root"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        more = dict(self._filled(number, role.more))
        if role.boundary is not None:
            made = iam.create_policy(
                PolicyName=f"{name}-boundary", PolicyDocument=self._document(number, role.boundary), Tags=self._tags()
            )
            more["PermissionsBoundary"] = made["Policy"]["Arn"]
        document = json.dumps(self._filled(number, trust))
        # A trust policy may name a role that was made a moment ago.
        side.patiently(
            lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=document, Tags=self._tags(), **more),
            codes=_NOT_YET,
        )
        if role.statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="inline", PolicyDocument=self._document(number, role.statements)
            )

    def _document(self, number: int, statements: Sequence[Mapping[str, Any]]) -> str:
        return json.dumps(self._filled(number, {"Version": "2012-10-17", "Statement": list(statements)}))

    def _step(self, number: int, case: Case, step: Step) -> Answer:
        side = self.side
        service, _, operation = step.call.partition(".")
        keys = self._keys(number, step)
        arguments = {
            key: json.dumps(value) if key in _DOCUMENTS and isinstance(value, dict) else value
            for key, value in self._filled(number, step.arguments).items()
        }
        if step.wait:
            time.sleep(side.settle)
        if step.presigned is not None:
            return self._by_url(step, operation, arguments, keys or side.keys, step.presigned)
        if step.signed is not None:
            how = replace(step.signed, region=self._text(number, step.signed.region))
            return self._signed(how, service, operation, arguments, how.keys(keys or side.keys))
        call = getattr(side.client(service, keys), operation)
        if step.code or not side.settle:
            return side.answer(lambda: call(**arguments))
        return side.answer(lambda: side.patiently(lambda: call(**arguments), codes=_NOT_YET))

    def _keys(self, number: int, step: Step) -> Mapping[str, str | None] | None:
        if step.who == "admin":
            return None
        if step.who in {"anonymous", "unsigned"}:
            return {}
        if step.who == "wrong-secret":
            return {**self.side.keys, "SecretAccessKey": "wrong" * 8}
        if step.who == "unknown-key":
            return {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "wrong" * 8}
        place = f"{number} {step.who} {step.session}"
        if place not in self._sessions:
            sts = self._owners[f"{number}-{step.who}"].client("sts")
            arguments = {
                key: json.dumps(value) if key == "Policy" else value
                for key, value in self._filled(number, step.session).items()
            }
            answer = self.side.patiently(
                lambda: sts.assume_role(
                    RoleArn=self._filled(number, f"${{role:{step.who}}}"), RoleSessionName="test", **arguments
                )
            )
            self._sessions[place] = answer["Credentials"]
        return self._sessions[place]

    def _by_url(
        self,
        step: Step,
        operation: str,
        arguments: Mapping[str, Any],
        keys: Mapping[str, str | None],
        exchange: Mapping[str, str],
    ) -> Answer:
        """`Body` is sent with the URL; every other argument is in it."""
        named = {key: value for key, value in arguments.items() if key != "Body"}
        how = step.signed or Signing()
        method, url = signing.presigned(
            self.side.client("s3", {}), operation, named, how.keys(keys), how, region=self.side.region
        )
        for old, new in exchange.items():
            url = url.replace(old, new)
        body = str(arguments["Body"]).encode() if "Body" in arguments else None
        deadline = time.monotonic() + 3 * self.side.settle
        while True:
            answer = self.side.answer_of_url(method, url, body)
            if step.code or answer.code != "AccessDenied" or time.monotonic() >= deadline:
                return answer
            time.sleep(2)

    def _signed(
        self,
        how: Signing,
        service: str,
        operation: str,
        arguments: Mapping[str, Any],
        keys: Mapping[str, str | None],
    ) -> Answer:
        client = self.side.client(service, {})
        host = self.side.aws_host(service) if how.region else ""
        with signing.signed(client, keys, how, service=service, region=self.side.region, host=host):
            return self.side.answer(lambda: getattr(client, operation)(**arguments))

    def _filled(self, number: int, value: Any) -> Any:
        """`${account}`, `${bucket}`, `${role:NAME}` (an ARN), `${name:NAME}`, `${token:SUBJECT AUDIENCE SECONDS}` and so on, filled in."""
        if isinstance(value, Mapping):
            return {self._text(number, key): self._filled(number, item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._filled(number, item) for item in value]
        return self._text(number, value) if isinstance(value, str) else value

    def _text(self, number: int, text: str) -> str:
        side = self.side

        def one(match: re.Match[str]) -> str:
            word, _, rest = match[1].partition(":")
            if word in {"role", "name"}:
                name = f"{side.run}-{number}-{rest}"
                account = self._owners.get(f"{number}-{rest}", side).account
                return name if word == "name" else f"arn:{side.partition}:iam::{account}:role/{name}"
            if word == "long":
                return "x" * int(rest)
            if word == "token" and side.token is not None:
                subject, audience, seconds = rest.split()
                return side.token(subject, audience.split(","), int(seconds))
            known = {
                "account": side.account,
                "other": side.other.account if side.other is not None else "",
                "bucket": side.bucket,
                "versioned": side.versioned,
                "version": self._version,
                "partition": side.partition,
                "region": side.region,
                "run": side.run,
                "issuer": side.issuer or "",
                "host": (side.issuer or "").removeprefix("https://"),
            }
            return known.get(word, match[0])

        return re.sub(r"\$\{([^}]+)\}", one, text)
