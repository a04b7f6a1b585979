"""The cases replayed on one side: everything they need made first, one wait, then request by request."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from defusedxml import ElementTree

from tools.aws.cases import Case, Role, Step
from tools.aws.side import TAG, Answer, Side

OBJECTS: Final = ("raw/present", "other/present")
_DOCUMENTS: Final = {"PolicyDocument", "AssumeRolePolicyDocument", "Policy"}  # JSON in a string, where AWS takes one


@dataclass(kw_only=True)
class Replay:
    """`on_event` is told what is made and asked, one line each."""

    side: Side
    on_event: Callable[[str], None] = lambda _: None
    _sessions: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])

    def run(self, cases: Sequence[Case]) -> list[list[Answer]]:
        """Answers by case and step."""
        self._world()
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

    def _tags(self) -> list[dict[str, str]]:
        return [{"Key": TAG, "Value": self.side.run}]

    def _world(self) -> None:
        """One bucket with two objects; with an issuer its provider."""
        side = self.side
        s3 = side.client("s3")
        self.on_event(f"{side.name}: making bucket {side.bucket}")
        where = {} if side.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": side.region}}
        s3.create_bucket(Bucket=side.bucket, **where)
        s3.put_bucket_tagging(Bucket=side.bucket, Tagging={"TagSet": self._tags()})
        for key in OBJECTS:
            s3.put_object(Bucket=side.bucket, Key=key, Body=b"here")
        if side.issuer is not None:
            side.client("iam").create_open_id_connect_provider(
                Url=side.issuer, ClientIDList=["sts.amazonaws.com"], Tags=self._tags()
            )

    def _role(self, number: int, role: Role) -> None:
        side = self.side
        name = f"{side.run}-{number}-{role.name}"
        self.on_event(f"{side.name}: making role {name}")
        iam = side.client("iam")
        trust = role.trust or {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:${partition}:iam::${account}:root"},
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
        iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps(self._filled(number, trust)), Tags=self._tags(), **more
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
        client = side.client(service, self._keys(number, step))
        arguments = {
            key: json.dumps(value) if key in _DOCUMENTS and isinstance(value, dict) else value
            for key, value in self._filled(number, step.arguments).items()
        }
        if step.presigned is not None:
            return self._by_url(client, operation, arguments, step.presigned)
        call = getattr(client, operation)
        if not step.code and side.settle:
            side.patiently(lambda: call(**arguments), codes=("AccessDenied", "403"))
        return side.answer(lambda: call(**arguments))

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
            sts = self.side.client("sts")
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

    def _by_url(self, client: Any, operation: str, arguments: Mapping[str, Any], exchange: Mapping[str, str]) -> Answer:
        url = client.generate_presigned_url(operation, Params=dict(arguments), ExpiresIn=60)
        for old, new in exchange.items():
            url = url.replace(old, new)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=30) as answer:
                return Answer(code="", message="", status=answer.status)
        except urllib.error.HTTPError as error:
            with error:
                found = {item.tag: item.text or "" for item in ElementTree.fromstring(error.read())}
            return Answer(
                code=found.get("Code", ""), message=self.side.plain(found.get("Message", "")), status=error.code
            )

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
                return name if word == "name" else f"arn:{side.partition}:iam::{side.account}:role/{name}"
            if word == "long":
                return "x" * int(rest)
            if word == "token" and side.token is not None:
                subject, audience, seconds = rest.split()
                return side.token(subject, audience.split(","), int(seconds))
            known = {
                "account": side.account,
                "bucket": side.bucket,
                "partition": side.partition,
                "region": side.region,
                "run": side.run,
                "issuer": side.issuer or "",
                "host": (side.issuer or "").removeprefix("https://"),
            }
            return known.get(word, match[0])

        return re.sub(r"\$\{([^}]+)\}", one, text)
