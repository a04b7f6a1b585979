"""`towpath identity`: the chain from a service account to an IAM role, made, proved, repaired and undone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from towpath.identity.commands import Options

app = typer.Typer(
    help="Set up, prove, repair and undo the chain from a service account to an IAM role.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Bootstrap = Annotated[
    bool, typer.Option("--remove-bootstrap-trust", help="Take away the statement that lets EC2 instances use the role.")
]


class Flags:
    """The flags that name one identity (or the file that names several), the same for every command."""

    def __init__(
        self,
        *,
        manifest: Annotated[
            Path | None, typer.Option("--manifest", "-f", help="A towpath.yaml, in place of the flags below.")
        ] = None,
        eks: Annotated[str | None, typer.Option("--eks", metavar="NAME", help="EKS cluster.")] = None,
        issuer: Annotated[
            str | None,
            typer.Option(
                "--issuer", metavar="URL", help="Issuer of a cluster that is not EKS. Default: as its server says."
            ),
        ] = None,
        cluster: Annotated[
            str | None,
            typer.Option(
                "--cluster",
                metavar="NAME",
                help="Name of your choice for a cluster that is not EKS, reached by its kubeconfig.",
            ),
        ] = None,
        region: Annotated[
            str | None, typer.Option("--region", envvar="AWS_REGION", help="Region of the cluster.")
        ] = None,
        namespace: Annotated[
            str, typer.Option("--namespace", "-n", help="Namespace of the service account.")
        ] = "default",
        service_account: Annotated[
            str, typer.Option("--service-account", help="Service account that jobs run under.")
        ] = "hd-job-sa",
        role: Annotated[str | None, typer.Option("--role", help="IAM role it becomes.")] = None,
        policy_files: Annotated[
            list[str] | None,
            typer.Option("--policy-file", metavar="FILE", help="Policy document the role gets. Repeatable."),
        ] = None,
        policy_arns: Annotated[
            list[str] | None,
            typer.Option("--policy-arn", metavar="ARN", help="Existing managed policy the role gets. Repeatable."),
        ] = None,
        max_session: Annotated[
            str | None, typer.Option("--max-session", metavar="DURATION", help="Longest session of the role, as 1h.")
        ] = None,
        permissions_boundary: Annotated[
            str | None, typer.Option("--permissions-boundary", metavar="ARN", help="Boundary of the role.")
        ] = None,
        kubeconfig: Annotated[
            Path | None, typer.Option("--kubeconfig", help="Kubeconfig of the cluster. Default: as kubectl finds it.")
        ] = None,
        context: Annotated[str | None, typer.Option("--context", help="Context in the kubeconfig.")] = None,
        state: Annotated[
            Path | None, typer.Option("--state", help="Directory of the local record of what was attached.")
        ] = None,
    ) -> None:
        self._manifest = manifest
        self._edges: dict[str, Any] = {"kubeconfig": kubeconfig, "context": context, "state": state}
        self._named: dict[str, Any] = {"eks": eks, "issuer": issuer, "cluster": cluster, "role": role}
        self._rest: dict[str, Any] = {
            "region": region,
            "namespace": namespace,
            "service_account": service_account,
            "policy_files": policy_files or (),
            "policy_arns": policy_arns or (),
            "max_session": max_session,
            "permissions_boundary": permissions_boundary,
        }

    def options(self, *, as_json: bool) -> Options:
        """Resolved and validated. Raises UsageError."""
        from towpath.errors import UsageError
        from towpath.identity import manifest as manifests
        from towpath.identity.commands import Options

        if self._manifest is None:
            wanted = (manifests.from_flags(**self._named, **self._rest),)
        elif any(self._named.values()):
            raise UsageError(
                "--manifest and the flags of one identity exclude each other",
                where="flags",
                todo="use the file, or the flags",
            )
        else:
            wanted = manifests.load_manifest(self._manifest)
        return Options(wanted=wanted, as_json=as_json, **self._edges)


def command(function: Callable[..., int]) -> Callable[..., int]:
    """A command with the shared flags in front of its own; what it returns is the exit status."""
    shared = [
        p.replace(kind=p.KEYWORD_ONLY)
        for name, p in inspect.signature(Flags.__init__, eval_str=True).parameters.items()
        if name != "self"
    ]
    own = [p for name, p in inspect.signature(function, eval_str=True).parameters.items() if name != "flags"]

    def run(**given: Any) -> None:
        flags = Flags(**{p.name: given.pop(p.name) for p in shared})
        raise typer.Exit(function(flags, **given))

    # Typer reads both; a wrapper that only forwards has neither.
    run.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*shared, *own)}
    app.command(function.__name__, help=inspect.getdoc(function))(run)
    return function


@command
def plan(flags: Flags, *, json_output: Json = False, remove_bootstrap_trust: Bootstrap = False) -> int:
    """Show what apply would change."""
    from towpath.identity import commands

    return commands.run_plan(flags.options(as_json=json_output), remove_bootstrap_trust=remove_bootstrap_trust)


@command
def apply(
    flags: Flags, *, json_output: Json = False, remove_bootstrap_trust: Bootstrap = False, yes: Yes = False
) -> int:
    """Make the chain as wanted: policies, role, provider, trust policy, service account. Safe to run again."""
    from towpath.identity import commands

    return commands.run_apply(
        flags.options(as_json=json_output), remove_bootstrap_trust=remove_bootstrap_trust, yes=yes
    )


@command
def doctor(
    flags: Flags,
    *,
    json_output: Json = False,
    saved: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Diagnose a chain saved by observe --out, offline.")
    ] = None,
    exchange: Annotated[bool, typer.Option("--exchange/--no-exchange", help="Also try a real exchange.")] = True,
) -> int:
    """Look at every link; name what is broken, with the evidence and the fix. Exit status 1 when something is."""
    from towpath.identity import commands

    if saved is not None:
        return commands.run_doctor(
            commands.Options(wanted=(), as_json=json_output), saved=commands.load(saved), exchange=False
        )
    return commands.run_doctor(flags.options(as_json=json_output), exchange=exchange)


@command
def prove(flags: Flags, *, json_output: Json = False) -> int:
    """Prove the chain: a real token, a real exchange, the caller's identity, and each harmless permission tried."""
    from towpath.identity import commands

    return commands.run_prove(flags.options(as_json=json_output))


@command
def destroy(flags: Flags, *, json_output: Json = False, yes: Yes = False) -> int:
    """Undo what towpath made for this identity, and only that."""
    from towpath.identity import commands

    return commands.run_destroy(flags.options(as_json=json_output), yes=yes)


@command
def observe(
    flags: Flags,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Save the chain, for `doctor --from` elsewhere.")
    ] = None,
) -> int:
    """Print what there is of the chain, as JSON; nothing in it is secret."""
    from towpath.identity import commands

    return commands.run_observe(flags.options(as_json=True), out=out)
