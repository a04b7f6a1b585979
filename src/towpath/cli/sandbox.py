"""`towpath sandbox`: an AWS on this machine that refuses what AWS refuses."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from towpath.sandbox.settings import SandboxSettings

app = typer.Typer(
    help="An AWS on this machine that verifies tokens and enforces policies, for any AWS SDK.",
    invoke_without_command=True,
)
faults = typer.Typer(help="Errors on request in a running sandbox: add, list, clear.", no_args_is_help=True)
app.add_typer(faults, name="fail")

FOREGROUND_PORT = 4566  # the one emulators of AWS are usually found at
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
ClusterName = Annotated[
    str | None, typer.Option("--cluster", help="EKS cluster of the sandbox. Default: the one it started with.")
]


class Start:
    """What a sandbox is started with, the same for every command that starts one."""

    def __init__(
        self,
        *,
        listen: Annotated[
            str,
            typer.Option(
                "--listen",
                metavar="ADDRESS",
                help="Address to listen on. Anything but loopback is open to that network.",
            ),
        ] = "127.0.0.1",
        port: Annotated[
            int | None,
            typer.Option(
                "--port", min=0, max=65535, help="Port; 0 takes a free one. Default: 4566 in the foreground, else free."
            ),
        ] = None,
        region: Annotated[
            str, typer.Option("--region", help="Region of the default cluster; its partition is the sandbox's.")
        ] = "eu-west-1",
        account: Annotated[str, typer.Option("--account", help="The account, twelve digits.")] = "123456789012",
        accounts: Annotated[
            list[str] | None,
            typer.Option("--accounts", metavar="ID", help="Another account that exists from the start. Repeatable."),
        ] = None,
        cluster: Annotated[
            str, typer.Option("--cluster", help="Name of the EKS cluster that exists from the start.")
        ] = "sandbox",
        hosts: Annotated[
            list[str] | None,
            typer.Option("--host", metavar="NAME", help="Another name this sandbox may be asked under. Repeatable."),
        ] = None,
        issuers: Annotated[
            list[str] | None,
            typer.Option(
                "--map-issuer",
                metavar="PUBLIC=LOCAL[,CA]",
                help="Where a public issuer URL is really served, and the CA file of that address. Repeatable.",
            ),
        ] = None,
        state: Annotated[
            str | None,
            typer.Option(
                "--state",
                metavar="DIR",
                help="Keep IAM, STS, EKS and S3 in DIR, also through a kill; no other service is kept.",
            ),
        ] = None,
        fsync: Annotated[
            bool,
            typer.Option("--fsync", help="Wait for the disk before each answer: DIR also survives a loss of power."),
        ] = False,
        fail: Annotated[
            list[str] | None,
            typer.Option(
                "--fail",
                metavar="SERVICE:ACTION:CODE:RATE",
                help="Make calls fail, as s3:PutObject:SlowDown:0.1 or sts:*:Throttling:1/3. Repeatable.",
            ),
        ] = None,
        fail_seed: Annotated[
            int,
            typer.Option(
                "--fail-seed", metavar="N", help="Which calls a fraction hits; the same seed, the same calls."
            ),
        ] = 0,
    ) -> None:
        self._port = port
        self._plain: dict[str, Any] = {
            "listen": listen,
            "region": region,
            "account": account,
            "cluster": cluster,
            "accounts": tuple(accounts or ()),
            "hosts": tuple(hosts or ()),
            "state": _directory(state),
            "fsync": fsync,
            "fault_seed": fail_seed,
        }
        self._issuers = issuers or ()
        self._fail = fail or ()

    def settings(self, *, port: int) -> SandboxSettings:
        """Raises UsageError. `port` where none was given."""
        from towpath.errors import UsageError
        from towpath.oidc.fetch import IssuerMapping
        from towpath.sandbox.faults import Fault
        from towpath.sandbox.settings import SandboxSettings

        if self._plain["fsync"] and self._plain["state"] is None:
            raise UsageError("there is nothing to keep", where="--fsync", todo="give --state DIR too, or leave it out")
        return SandboxSettings(
            port=port if self._port is None else self._port,
            issuers=tuple(IssuerMapping.parse(text) for text in self._issuers),
            faults=tuple(Fault.parse(text) for text in self._fail),
            **self._plain,
        )


def _directory(text: str | None) -> Path | None:
    """Raises UsageError for "", a shell variable that is not set: it would be the directory one stands in."""
    from towpath.errors import UsageError

    if text is not None and not text:
        raise UsageError("the directory's name is empty", where="--state", todo="give a directory, or leave it out")
    return None if text is None else Path(text)


def starting(function: Callable[..., None]) -> Callable[..., None]:
    """A command with the flags of `Start` behind its own; it gets them as `start`."""
    shared = [
        p.replace(kind=p.KEYWORD_ONLY)
        for name, p in inspect.signature(Start.__init__, eval_str=True).parameters.items()
        if name != "self"
    ]
    own = [
        p.replace(kind=p.KEYWORD_ONLY)
        for name, p in inspect.signature(function, eval_str=True).parameters.items()
        if name != "start"
    ]

    def run(**given: Any) -> None:
        start = Start(**{p.name: given.pop(p.name) for p in shared})
        function(start=start, **given)

    # Typer reads both; a wrapper that only forwards has neither.
    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *shared)}
    run.__doc__ = inspect.getdoc(function)
    return run


def sandbox(start: Start, *, context: typer.Context, json_output: Json = False) -> None:
    """Run a sandbox in the foreground until Ctrl-C, and print how to reach it."""
    if context.invoked_subcommand is not None:
        _none_for_nobody(context)
        return
    from towpath.sandbox import foreground

    foreground.serve(start.settings(port=FOREGROUND_PORT), as_json=json_output)


def _none_for_nobody(context: typer.Context) -> None:
    """Raises UsageError for a flag in front of a command: it would be one of the sandbox that is not started."""
    from towpath.errors import UsageError

    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                f"{parameter.opts[0]} stands in front of {context.invoked_subcommand}, which does not see it",
                where=f"towpath sandbox {parameter.opts[0]} … {context.invoked_subcommand}",
                todo=f"write it behind, if that command takes it: towpath sandbox {context.invoked_subcommand} {parameter.opts[0]} …",
            )


def run(
    start: Start,
    *,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="The command and its arguments.")],
) -> None:
    """Start a sandbox, run COMMAND with the administrator's environment, stop it, and end with COMMAND's status."""
    from towpath.sandbox import foreground

    raise typer.Exit(foreground.run(start.settings(port=0), command))


app.callback()(starting(sandbox))
# The first word that is no flag begins the command: what follows is the command's own, also without --.
app.command("run", context_settings={"allow_interspersed_args": False})(starting(run))


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
    denied: Annotated[bool, typer.Option("--denied", help="Only calls that were not allowed.")] = False,
    who: Annotated[
        str | None, typer.Option("--who", metavar="TEXT", help="Only callers with this in their ARN.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="PATTERN", help="Only these, as s3:* or s3:Put*.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as calls come in, until Ctrl-C.")] = False,
    json_output: Json = False,
) -> None:
    """Show what was asked of the sandbox: who, which action, on what, what was decided, and why."""
    from towpath.sandbox import client, render

    running = client.from_environment()
    if follow:
        try:
            render.follow(running, last=last, as_json=json_output, denied=denied, who=who, action=action)
        except KeyboardInterrupt:
            return
    every = running.calls()
    found = render.selected(every, denied=denied, who=who, action=action)[-last:]
    if json_output:
        import json

        typer.echo(json.dumps(found))
    else:
        render.calls(found, of=len(every))


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Empty a running sandbox: every bucket, role, session and call goes; the administrator's key stays."""
    from towpath.errors import UsageError
    from towpath.sandbox import client

    running = client.from_environment()
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            "emptying it needs a yes, and nobody can be asked here", where="--yes", todo="run it again with --yes"
        )
    if not yes and not typer.confirm(f"empty the sandbox at {running.url.removesuffix('/.towpath')}?", err=True):
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(1)
    running.reset()
    typer.echo("the sandbox is as it was when it started")


@faults.command("add")
def fail_add(
    rules: Annotated[
        list[str], typer.Argument(metavar="SERVICE:ACTION:CODE:RATE…", help="As s3:PutObject:SlowDown:0.1.")
    ],
) -> None:
    """Make calls fail from now on."""
    from towpath.sandbox import client
    from towpath.sandbox.faults import Fault

    for rule in rules:
        Fault.parse(rule)
    client.from_environment().add_faults(rules)
    typer.echo(f"{len(rules)} added")


@faults.command("list")
def fail_list(json_output: Json = False) -> None:
    """Which calls are made to fail, and how many each rule has spoken of."""
    from towpath.sandbox import client

    found = client.from_environment().faults()
    if json_output:
        import json

        typer.echo(json.dumps(found))
        return
    for item in found:
        typer.echo(f"{item['fail']}  {item['calls']} {'call' if item['calls'] == 1 else 'calls'}")
    if not found:
        typer.echo("no call is made to fail")


@faults.command("clear")
def fail_clear() -> None:
    """Let every call through to its decision again."""
    from towpath.sandbox import client

    typer.echo(f"{client.from_environment().clear_faults()} removed")
