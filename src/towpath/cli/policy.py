"""`towpath policy`: policy documents checked, explained, made from presets; learned from a run in policy_learn.py."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from towpath.cli.policy_files import kind_named, print_json, read, text_of
from towpath.cli.policy_learn import learn

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
    wanted = kind_named(kind)
    out: list[dict[str, Any]] = []
    failing = {lint.Severity.ERROR, lint.Severity.WARNING} if strict else {lint.Severity.ERROR}
    failed = False
    for file in files:
        try:
            policy = read(file, wanted)
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
        print_json(out)
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
    door = read(trust, PolicyKind.TRUST) if trust is not None else None
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
            identity=tuple(read(file, PolicyKind.IDENTITY) for file in policies or ()),
            resource=read(resource_policy, PolicyKind.RESOURCE) if resource_policy else door,
            boundary=read(boundary, PolicyKind.BOUNDARY) if boundary else None,
            session=tuple(read(file, PolicyKind.SESSION) for file in session) if session else None,
            scps=tuple((read(file, PolicyKind.SCP),) for file in scps or ()),
            rcps=tuple((read(file, PolicyKind.RCP),) for file in rcps or ()),
            endpoint=read(endpoint, PolicyKind.ENDPOINT) if endpoint else None,
            resource_account=owner,
        )
    decision = decide(asked, found)
    if json_output:
        print_json(policy_screen.as_json(decision))
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
            print_json({key: {"what": p.what, "needs": p.needs, "takes": p.takes} for key, p in ready.PRESETS.items()})
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
    print_json(build.policy(ready.statements(name, options, partition=where.name)))


app.command(context_settings={"allow_interspersed_args": False})(learn)


def _claims(file: str) -> dict[str, Any]:
    from towpath.oidc import compact

    return compact.parse(text_of(file).strip()).payload


def _token_notes(claims: dict[str, Any], now: Any) -> list[str]:
    """What this explanation cannot see, or sees and does not judge: the token itself is verified by STS alone."""
    notes = ["the token was read, not verified: signature, provider and client ids are STS's to judge"]
    end = claims.get("exp")
    if isinstance(end, (int, float)) and end < now.timestamp():
        notes.append(
            f"the token expired {int(now.timestamp() - end)} seconds ago: STS would refuse it before it looked at the role"
        )
    return notes
