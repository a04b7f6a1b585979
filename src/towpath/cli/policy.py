"""`towpath policy`: policy documents checked, explained, made from presets, and learned from a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from towpath.iam.decide import NamedPolicy
    from towpath.iam.policy import PolicyKind

app = typer.Typer(help="Check, explain and make IAM policies; learn the least one a run needs.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="identity, trust, resource, boundary, session, scp, rcp or endpoint. Default: the first three, as it looks.",
    ),
]


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Policy documents; - is standard input.")],
    kind: Kind = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    json_output: Json = False,
) -> None:
    """Parse and validate as IAM does, measure, and point at what is risky or does not do what it says.

    Ends with 1 when there is an error (with --strict: or a warning).
    """
    from towpath.cli import policy_screen
    from towpath.cli.catalogue import SdkCatalogue
    from towpath.iam import lint
    from towpath.iam.document import PolicyError

    catalogue = SdkCatalogue()
    wanted = _kind(kind)
    out: list[dict[str, Any]] = []
    failing = {lint.Severity.ERROR, lint.Severity.WARNING} if strict else {lint.Severity.ERROR}
    failed = False
    for file in files:
        try:
            policy = _read(file, wanted)
        except PolicyError as error:
            failed = True
            place = error.path or (f"line {error.line}, column {error.column}" if error.line else "document")
            out.append({"file": file, "valid": False, "path": error.path, "line": error.line, "reason": error.reason})
            if not json_output:
                policy_screen.refused(file, where=place, reason=error.reason)
            continue
        document = policy.document
        findings = lint.lint(document, catalogue=catalogue)
        failed = failed or any(finding.severity in failing for finding in findings)
        size, limit = lint.size(document.source), lint.longest(document.kind)
        out.append(
            {
                "file": file,
                "valid": True,
                "kind": str(document.kind),
                "size": size,
                "limit": limit,
                "findings": [
                    {
                        "rule": item.rule,
                        "severity": str(item.severity),
                        "path": item.path,
                        "what": item.what,
                        "instead": item.instead,
                    }
                    for item in findings
                ],
            }
        )
        if not json_output:
            policy_screen.checked(file, kind=str(document.kind), size=size, limit=limit, findings=findings)
    if json_output:
        _print_json(out)
    raise typer.Exit(1 if failed else 0)


@app.command()
def explain(
    policies: Annotated[
        list[str] | None, typer.Option("--policy", metavar="FILE", help="An identity policy. Repeatable.")
    ] = None,
    boundary: Annotated[
        str | None, typer.Option("--boundary", metavar="FILE", help="The permissions boundary.")
    ] = None,
    session: Annotated[
        list[str] | None, typer.Option("--session", metavar="FILE", help="A session policy. Repeatable.")
    ] = None,
    resource_policy: Annotated[
        str | None, typer.Option("--resource-policy", metavar="FILE", help="The resource's own policy.")
    ] = None,
    scps: Annotated[
        list[str] | None, typer.Option("--scp", metavar="FILE", help="A service control policy. One level each.")
    ] = None,
    rcps: Annotated[
        list[str] | None, typer.Option("--rcp", metavar="FILE", help="A resource control policy. One level each.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint-policy", metavar="FILE", help="A VPC endpoint's policy.")
    ] = None,
    action: Annotated[str | None, typer.Option("--action", help="As s3:GetObject.")] = None,
    resource: Annotated[str, typer.Option("--resource", metavar="ARN", help="What it is done to.")] = "*",
    principal: Annotated[
        str | None, typer.Option("--principal", metavar="ARN", help="Who asks. Default: nobody known.")
    ] = None,
    resource_account: Annotated[
        str | None, typer.Option("--resource-account", help="Whose the resource is, where its ARN does not say.")
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="KEY=VALUE", help="A condition key. Repeatable; KEY= takes one away."),
    ] = None,
    trust: Annotated[
        str | None,
        typer.Option("--trust", metavar="FILE", help="A role's trust policy, asked about --token or --principal."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", metavar="FILE", help="A service account's token; read, not verified, not shown."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Draw a decision: the outcome, the shortest reason, and each statement with what matched and what did not.

    Ends with 0 when it is allowed, 1 when it is denied.
    """
    from datetime import UTC, datetime

    from towpath.cli import policy_screen
    from towpath.errors import UsageError
    from towpath.iam import question
    from towpath.iam.decide import PolicySet, decide
    from towpath.iam.policy import PolicyKind

    now = datetime.now(UTC)
    notes: list[str] = []
    door = _read(trust, PolicyKind.TRUST) if trust is not None else None
    if token is not None:
        if door is None:
            raise UsageError("a token is asked about at a role's door", where="--token", todo="give --trust FILE too")
        claims = _claims(token)
        asked, found = question.trust_request(claims, door, given=context or (), now=now)
        notes = _token_notes(claims, now)
    else:
        if door is not None:
            action = action or "sts:AssumeRole"
            if principal is None or resource_policy is not None:
                raise UsageError(
                    "a trust policy is asked about a token or a principal, and is the role's resource policy itself",
                    where="--trust",
                    todo="give --token FILE, or --principal ARN",
                )
        if action is None:
            raise UsageError(
                "no action is asked about",
                where="towpath policy explain",
                todo="give --action ACTION --resource ARN, or --trust FILE --token FILE",
            )
        asked, owner = question.request(
            action=action,
            resource=resource,
            principal=principal,
            resource_account=resource_account,
            given=context or (),
            now=now,
        )
        found = PolicySet(
            identity=tuple(_read(file, PolicyKind.IDENTITY) for file in policies or ()),
            resource=_read(resource_policy, PolicyKind.RESOURCE) if resource_policy else door,
            boundary=_read(boundary, PolicyKind.BOUNDARY) if boundary else None,
            session=tuple(_read(file, PolicyKind.SESSION) for file in session) if session else None,
            scps=tuple((_read(file, PolicyKind.SCP),) for file in scps or ()),
            rcps=tuple((_read(file, PolicyKind.RCP),) for file in rcps or ()),
            endpoint=_read(endpoint, PolicyKind.ENDPOINT) if endpoint else None,
            resource_account=owner,
        )
    decision = decide(asked, found)
    if json_output:
        _print_json(policy_screen.as_json(decision))
    else:
        policy_screen.decided(decision, notes=notes)
    raise typer.Exit(0 if decision.allowed else 1)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(metavar="[PRESET]", help="Which one to print; none lists them.")] = None,
    bucket: Annotated[str | None, typer.Option("--bucket", help="s3")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="s3: only what begins with this.")] = None,
    access: Annotated[str | None, typer.Option("--access", help="s3: read, write or read-write.")] = None,
    region: Annotated[str | None, typer.Option("--region", envvar="AWS_REGION", help="All but s3.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="All but s3: twelve digits.")] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="glue, athena: its name; rds: its resource id.")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help="glue, athena")] = None,
    workgroup: Annotated[str | None, typer.Option("--workgroup", help="athena")] = None,
    secret: Annotated[str | None, typer.Option("--secret", help="secret: its name.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="kms: its id.")] = None,
    via: Annotated[str | None, typer.Option("--via", help="kms: only through this service, as s3.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="rds: the database user.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Default: the region's, or aws.")] = None,
    json_output: Json = False,
) -> None:
    """List the ready-made permissions, or print one as a policy document."""
    from towpath.cli import policy_screen
    from towpath.iam import build
    from towpath.iam import partition as partitions
    from towpath.iam import presets as ready

    if name is None:
        if json_output:
            _print_json({key: {"what": p.what, "needs": p.needs, "takes": p.takes} for key, p in ready.PRESETS.items()})
        else:
            policy_screen.presets()
        return
    given = {
        "bucket": bucket, "prefix": prefix, "access": access, "account": account, "database": database, "table": table,
        "workgroup": workgroup, "secret": secret, "key": key, "via": via, "user": user,
    }  # fmt: skip
    options = {option: value for option, value in given.items() if value is not None}
    if region and name != "s3":  # the environment may name one, which S3's ARNs have no use for
        options["region"] = region
    where = partitions.by_name(partition) if partition else partitions.of_region(region or "")
    _print_json(build.policy(ready.statements(name, options, partition=where.name)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def learn(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND…]", help="With --verify: what to run.")
    ] = None,
    record: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="A saved record (calls --json). Default: the running sandbox's."),
    ] = None,
    principal: Annotated[
        str | None,
        typer.Option("--principal", metavar="ROLE", help="Whose calls: a role or user, by name or ARN; or root."),
    ] = None,
    since: Annotated[int, typer.Option("--since", metavar="N", min=0, help="Only calls after number N.")] = 0,
    generalise: Annotated[
        list[str] | None,
        typer.Option(
            "--generalise",
            metavar="PREFIX/|prefix",
            help="Fold keys under PREFIX/ into it, or each to the directory they share. Repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write it. Default: print it.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Run COMMAND as a job in a sandbox: once under everything, once under what it needed."
        ),
    ] = False,
    setup: Annotated[
        str | None, typer.Option("--setup", metavar="SHELL", help="With --verify: makes what COMMAND expects to find.")
    ] = None,
) -> None:
    """The least policy that allows what a run did, from the sandbox's record of it.

    With --verify ends with 1 when the second run failed, or was refused anything the first was not.
    """
    from towpath.errors import UsageError
    from towpath.iam import learn as learning
    from towpath.iam import lint
    from towpath.iam.policy import PolicyKind

    fold = tuple(generalise or ())
    if fold != learning.AUTOMATIC and (bad := [text for text in fold if not text.endswith("/")]):
        raise UsageError(
            f"{bad[0]!r} is no way to generalise",
            where="--generalise",
            todo="write --generalise raw/, or --generalise prefix alone",
        )
    words = [*(command or []), *context.args]
    holds = True
    if verify:
        document, holds = _verified(words, setup=setup, role=principal or "learned", fold=fold)
    elif words or setup:
        raise UsageError("a command is run only to verify", where="towpath policy learn", todo="add --verify")
    elif principal is None:
        raise UsageError("no principal is named", where="--principal", todo="give a role's name, or root")
    else:
        calls = _record(record)
        seen = learning.observe(calls, principal=principal, after=since)
        document = learning.policy(seen.permissions, generalise=fold)
        _say(f"{seen.calls} allowed calls of {principal} need {_actions(document)}")
        if seen.first is not None and seen.first > since + 1:
            _say(f"the record begins with call {seen.first}: what was before is not in the policy")
        if seen.refused:
            _say(f"{len(seen.refused)} calls were refused, and are not in it: towpath sandbox calls --denied")
    text = _json_text(document)
    if (limit := lint.longest(PolicyKind.IDENTITY)) and (size := lint.size(document)) > limit:
        _say(f"it has {size} characters, and IAM takes {limit}" + ("" if fold else ": try --generalise"))
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
    raise typer.Exit(0 if holds else 1)


def _verified(words: list[str], *, setup: str | None, role: str, fold: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
    from towpath.errors import UsageError
    from towpath.sandbox import learning, render

    if not words:
        raise UsageError("there is nothing to run", where="--verify", todo="give a command after --")
    found = learning.learn_by_running(learning.Job(command=words, setup=setup, role=role), generalise=fold)
    document = dict(found.policy)
    _say(
        f"run 1, everything allowed: status {found.first.status}, {found.first.seen.calls} calls need {_actions(document)}"
    )
    refused = found.second.seen.refused
    _say(
        f"run 2, the learned policy alone: status {found.second.status}, {found.second.seen.calls} calls allowed, "
        + (f"{len(refused)} refused" if refused else "nothing refused")
    )
    for call in refused:
        _say("  " + render.line(call))
    if not found.holds and not fold:
        _say("keys that differ from run to run need --generalise")
    return document, found.holds


def _actions(document: dict[str, Any]) -> str:
    found = {
        action
        for item in document["Statement"]
        for action in ([item["Action"]] if isinstance(item["Action"], str) else item["Action"])
    }
    return f"{len(found)} action{'' if len(found) == 1 else 's'}"


def _record(file: str | None) -> list[dict[str, Any]]:
    """The calls: a JSON list, an object that holds one, or one call a line, as `calls --follow --json` writes them."""
    import json

    from towpath.errors import UsageError

    if file is None:
        from towpath.sandbox import client

        return client.from_environment().calls()
    text = _text(file)
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            value = None
    if isinstance(value, dict):
        value = value.get("calls", [value])
    if not isinstance(value, list) or not all(isinstance(call, dict) for call in value):
        raise UsageError("it is no call record", where=file, todo="make one: towpath sandbox calls --json --last 10000")
    return value


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _read(file: str, kind: PolicyKind | None) -> NamedPolicy:
    """Raises PolicyError, and UsageError for a file that cannot be read."""
    from towpath.iam.question import read_policy

    return read_policy(_text(file), name=file if file != "-" else "standard input", kind=kind)


def _text(file: str) -> str:
    import sys

    from towpath.errors import UsageError

    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("it is not UTF-8", where=file, todo="give a text file") from None
    except OSError as error:
        raise UsageError(f"cannot read it: {error.strerror}", where=file, todo="give a file that is there") from None


def _claims(file: str) -> dict[str, Any]:
    from towpath.oidc import compact

    return compact.parse(_text(file).strip()).payload


def _token_notes(claims: dict[str, Any], now: Any) -> list[str]:
    """What this explanation cannot see, or sees and does not judge: the token itself is verified by STS alone."""
    notes = ["the token was read, not verified: signature, provider and client ids are STS's to judge"]
    end = claims.get("exp")
    if isinstance(end, (int, float)) and end < now.timestamp():
        notes.append(
            f"the token expired {int(now.timestamp() - end)} seconds ago: STS would refuse it before it looked at the role"
        )
    return notes


def _kind(text: str | None) -> PolicyKind | None:
    from towpath.errors import UsageError
    from towpath.iam.policy import PolicyKind

    if text is None:
        return None
    try:
        return PolicyKind(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no kind of policy", where="--kind", todo=f"use {', '.join(PolicyKind)}"
        ) from None


def _print_json(value: object) -> None:
    typer.echo(_json_text(value))


def _json_text(value: object) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)
