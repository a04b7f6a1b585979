"""`towpath sandbox`: an AWS on this machine that refuses what AWS refuses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from towpath.sandbox.settings import SandboxSettings

app = typer.Typer(
    help="An AWS on this machine that verifies tokens and enforces policies, for any AWS SDK.",
    invoke_without_command=True,
)

Listen = Annotated[
    str,
    typer.Option(
        "--listen", metavar="ADDRESS", help="Address to listen on. Anything but loopback is open to that network."
    ),
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")]
Region = Annotated[str, typer.Option("--region", help="Region of the default cluster; its partition is the sandbox's.")]
Account = Annotated[str, typer.Option("--account", help="The account, twelve digits.")]
Cluster = Annotated[str, typer.Option("--cluster", help="Name of the EKS cluster that exists from the start.")]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", metavar="NAME", help="Another name this sandbox may be asked under. Repeatable."),
]
Issuers = Annotated[
    list[str] | None,
    typer.Option(
        "--map-issuer",
        metavar="PUBLIC=LOCAL[,CA]",
        help="Where a public issuer URL is really served, and the CA file of that address. Repeatable.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="Keep IAM, STS, EKS and S3 in DIR, also through a kill; no other service is kept.",
    ),
]
Fsync = Annotated[
    bool, typer.Option("--fsync", help="Wait for the disk before each answer: DIR also survives a loss of power.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
ClusterName = Annotated[
    str | None, typer.Option("--cluster", help="EKS cluster of the sandbox. Default: the one it started with.")
]


@app.callback()
def sandbox(
    context: typer.Context,
    listen: Listen = "127.0.0.1",
    port: Port = 4566,
    region: Region = "eu-west-1",
    account: Account = "123456789012",
    cluster: Cluster = "sandbox",
    hosts: Hosts = None,
    issuers: Issuers = None,
    state: State = None,
    fsync: Fsync = False,
    json_output: Json = False,
) -> None:
    """Run a sandbox in the foreground until Ctrl-C, and print how to reach it."""
    if context.invoked_subcommand is not None:
        return
    from towpath.sandbox import foreground

    foreground.serve(
        _settings(listen, port, region, account, cluster, hosts, issuers, state, fsync=fsync), as_json=json_output
    )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="The command and its arguments.")],
    listen: Listen = "127.0.0.1",
    port: Port = 0,
    region: Region = "eu-west-1",
    account: Account = "123456789012",
    cluster: Cluster = "sandbox",
    hosts: Hosts = None,
    issuers: Issuers = None,
    state: State = None,
    fsync: Fsync = False,
) -> None:
    """Start a sandbox, run COMMAND with the administrator's environment, stop it, and end with COMMAND's status."""
    from towpath.sandbox import foreground

    status = foreground.run(
        _settings(listen, port, region, account, cluster, hosts, issuers, state, fsync=fsync), [*command, *context.args]
    )
    raise typer.Exit(status)


@app.command()
def token(
    service_account: Annotated[
        str, typer.Option("--service-account", metavar="NAMESPACE/NAME", help="Whose token, as data/hd-job-sa.")
    ],
    cluster: ClusterName = None,
    audience: Annotated[
        list[str] | None, typer.Option("--audience", help="Repeatable. Default: sts.amazonaws.com.")
    ] = None,
    expires_in: Annotated[
        int, typer.Option("--expires-in", metavar="SECONDS", help="Lifetime; negative for a token already expired.")
    ] = 3600,
    json_output: Json = False,
) -> None:
    """Print a token as the cluster's API server would sign it for a service account."""
    from towpath.sandbox import client

    answer = client.from_environment().token(
        service_account, cluster=cluster, audiences=audience, expires_in=expires_in
    )
    if json_output:
        import json

        typer.echo(json.dumps(answer))
    else:
        typer.echo(answer["token"])


@app.command()
def annotate(
    service_account: Annotated[
        str, typer.Argument(metavar="NAMESPACE/NAME", help="The service account; it is created when it is absent.")
    ],
    annotations: Annotated[list[str], typer.Argument(metavar="KEY=VALUE…", help="KEY=VALUE sets, KEY- removes.")],
    cluster: ClusterName = None,
    json_output: Json = False,
) -> None:
    """Annotate a service account of the sandbox's cluster, as `kubectl annotate serviceaccount` would."""
    from towpath.sandbox import client

    answer = client.from_environment().annotate(service_account, annotations, cluster=cluster)
    if json_output:
        import json

        typer.echo(json.dumps(answer))
    else:
        typer.echo(f"serviceaccount/{answer['metadata']['name']} annotated")


@app.command()
def calls(
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many of the newest calls.")] = 50,
    denied: Annotated[bool, typer.Option("--denied", help="Only calls that were denied or refused.")] = False,
    json_output: Json = False,
) -> None:
    """Show what was asked of the sandbox: who, which action, on what, what was decided, and why."""
    from towpath.sandbox import client, render

    found = client.from_environment().calls()
    if denied:
        found = [call for call in found if call["decision"] != "allowed"]
    if json_output:
        import json

        typer.echo(json.dumps(found[-last:]))
    else:
        render.calls(found[-last:])


def _settings(
    listen: str,
    port: int,
    region: str,
    account: str,
    cluster: str,
    hosts: list[str] | None,
    issuers: list[str] | None,
    state: Path | None,
    *,
    fsync: bool,
) -> SandboxSettings:
    from towpath.oidc.fetch import IssuerMapping
    from towpath.sandbox.settings import SandboxSettings

    mappings = tuple(IssuerMapping.parse(text) for text in issuers or ())
    return SandboxSettings(
        listen=listen,
        port=port,
        region=region,
        account=account,
        cluster=cluster,
        hosts=tuple(hosts or ()),
        issuers=mappings,
        state=state,
        fsync=fsync,
    )
