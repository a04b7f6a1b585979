"""`towpath identity`: the chain from a service account to an IAM role, made, proved, repaired and undone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from towpath.identity.commands import Options

app = typer.Typer(help="Set up, prove, repair and undo the chain from a service account to an IAM role.", no_args_is_help=True)

Manifest = Annotated[Path | None, typer.Option("--manifest", "-f", help="A towpath.yaml, in place of the flags below.")]
Eks = Annotated[str | None, typer.Option("--eks", metavar="NAME", help="EKS cluster.")]
Issuer = Annotated[str | None, typer.Option("--issuer", metavar="URL", help="Issuer of a cluster that is not EKS, with --cluster.")]
ClusterName = Annotated[str | None, typer.Option("--cluster", metavar="NAME", help="Name for a cluster given by --issuer.")]
Region = Annotated[str | None, typer.Option("--region", envvar="AWS_REGION", help="Region of the cluster.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the service account.")]
ServiceAccount = Annotated[str, typer.Option("--service-account", help="Service account that jobs run under.")]
Role = Annotated[str | None, typer.Option("--role", help="IAM role it becomes.")]
PolicyFiles = Annotated[list[str] | None, typer.Option("--policy-file", metavar="FILE", help="Policy document the role gets. Repeatable.")]
PolicyArns = Annotated[list[str] | None, typer.Option("--policy-arn", metavar="ARN", help="Existing managed policy the role gets. Repeatable.")]
MaxSession = Annotated[str | None, typer.Option("--max-session", metavar="DURATION", help="Longest session of the role, as 1h.")]
Boundary = Annotated[str | None, typer.Option("--permissions-boundary", metavar="ARN", help="Boundary of the role.")]
Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig of the cluster. Default: as kubectl finds it.")]
Context = Annotated[str | None, typer.Option("--context", help="Context in the kubeconfig.")]
State = Annotated[Path | None, typer.Option("--state", help="Directory of the local record of what was attached.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Bootstrap = Annotated[bool, typer.Option("--remove-bootstrap-trust", help="Take away the statement that lets EC2 instances use the role.")]


@app.command()
def plan(
    manifest: Manifest = None, eks: Eks = None, issuer: Issuer = None, cluster: ClusterName = None, region: Region = None, namespace: Namespace = "default",
    service_account: ServiceAccount = "hd-job-sa", role: Role = None, policy_file: PolicyFiles = None, policy_arn: PolicyArns = None,
    max_session: MaxSession = None, permissions_boundary: Boundary = None, kubeconfig: Kubeconfig = None, context: Context = None, state: State = None,
    json_output: Json = False, remove_bootstrap_trust: Bootstrap = False,
) -> None:  # fmt: skip
    """Show what apply would change."""
    from towpath.identity import commands

    options = _options(manifest, eks, issuer, cluster, region, namespace, service_account, role, policy_file, policy_arn, max_session, permissions_boundary, kubeconfig, context, state, json_output)
    raise typer.Exit(commands.run_plan(options, remove_bootstrap_trust=remove_bootstrap_trust))


@app.command()
def apply(
    manifest: Manifest = None, eks: Eks = None, issuer: Issuer = None, cluster: ClusterName = None, region: Region = None, namespace: Namespace = "default",
    service_account: ServiceAccount = "hd-job-sa", role: Role = None, policy_file: PolicyFiles = None, policy_arn: PolicyArns = None,
    max_session: MaxSession = None, permissions_boundary: Boundary = None, kubeconfig: Kubeconfig = None, context: Context = None, state: State = None,
    json_output: Json = False, remove_bootstrap_trust: Bootstrap = False, yes: Yes = False,
) -> None:  # fmt: skip
    """Make the chain as wanted: policies, role, provider, trust policy, service account. Safe to run again."""
    from towpath.identity import commands

    options = _options(manifest, eks, issuer, cluster, region, namespace, service_account, role, policy_file, policy_arn, max_session, permissions_boundary, kubeconfig, context, state, json_output)
    raise typer.Exit(commands.run_apply(options, remove_bootstrap_trust=remove_bootstrap_trust, yes=yes))


@app.command()
def doctor(
    manifest: Manifest = None, eks: Eks = None, issuer: Issuer = None, cluster: ClusterName = None, region: Region = None, namespace: Namespace = "default",
    service_account: ServiceAccount = "hd-job-sa", role: Role = None, policy_file: PolicyFiles = None, policy_arn: PolicyArns = None,
    max_session: MaxSession = None, permissions_boundary: Boundary = None, kubeconfig: Kubeconfig = None, context: Context = None, state: State = None,
    json_output: Json = False,
    saved: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="Diagnose a chain saved by observe --out, offline.")] = None,
    exchange: Annotated[bool, typer.Option("--exchange/--no-exchange", help="Also try a real exchange.")] = True,
) -> None:  # fmt: skip
    """Look at every link; name what is broken, with the evidence and the fix. Exit status 1 when something is."""
    from towpath.identity import commands

    if saved is not None:
        offline = commands.Options(wanted=(), as_json=json_output)
        raise typer.Exit(commands.run_doctor(offline, saved=commands.load(saved), exchange=False))
    options = _options(manifest, eks, issuer, cluster, region, namespace, service_account, role, policy_file, policy_arn, max_session, permissions_boundary, kubeconfig, context, state, json_output)
    raise typer.Exit(commands.run_doctor(options, exchange=exchange))


@app.command()
def prove(
    manifest: Manifest = None, eks: Eks = None, issuer: Issuer = None, cluster: ClusterName = None, region: Region = None, namespace: Namespace = "default",
    service_account: ServiceAccount = "hd-job-sa", role: Role = None, policy_file: PolicyFiles = None, policy_arn: PolicyArns = None,
    max_session: MaxSession = None, permissions_boundary: Boundary = None, kubeconfig: Kubeconfig = None, context: Context = None, state: State = None,
    json_output: Json = False,
) -> None:  # fmt: skip
    """Prove the chain: a real token, a real exchange, the caller's identity, and each harmless permission tried."""
    from towpath.identity import commands

    options = _options(manifest, eks, issuer, cluster, region, namespace, service_account, role, policy_file, policy_arn, max_session, permissions_boundary, kubeconfig, context, state, json_output)
    raise typer.Exit(commands.run_prove(options))


@app.command()
def destroy(
    manifest: Manifest = None, eks: Eks = None, issuer: Issuer = None, cluster: ClusterName = None, region: Region = None, namespace: Namespace = "default",
    service_account: ServiceAccount = "hd-job-sa", role: Role = None, policy_file: PolicyFiles = None, policy_arn: PolicyArns = None,
    max_session: MaxSession = None, permissions_boundary: Boundary = None, kubeconfig: Kubeconfig = None, context: Context = None, state: State = None,
    json_output: Json = False, yes: Yes = False,
) -> None:  # fmt: skip
    """Undo what towpath made for this identity, and only that."""
    from towpath.identity import commands

    options = _options(manifest, eks, issuer, cluster, region, namespace, service_account, role, policy_file, policy_arn, max_session, permissions_boundary, kubeconfig, context, state, json_output)
    raise typer.Exit(commands.run_destroy(options, yes=yes))


@app.command()
def observe(
    manifest: Manifest = None, eks: Eks = None, issuer: Issuer = None, cluster: ClusterName = None, region: Region = None, namespace: Namespace = "default",
    service_account: ServiceAccount = "hd-job-sa", role: Role = None, policy_file: PolicyFiles = None, policy_arn: PolicyArns = None,
    max_session: MaxSession = None, permissions_boundary: Boundary = None, kubeconfig: Kubeconfig = None, context: Context = None, state: State = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Save the chain, for `doctor --from` elsewhere.")] = None,
) -> None:  # fmt: skip
    """Print what there is of the chain, as JSON; nothing in it is secret."""
    from towpath.identity import commands

    options = _options(manifest, eks, issuer, cluster, region, namespace, service_account, role, policy_file, policy_arn, max_session, permissions_boundary, kubeconfig, context, state, json_output=True)
    raise typer.Exit(commands.run_observe(options, out=out))


def _options(
    manifest: Path | None, eks: str | None, issuer: str | None, cluster: str | None, region: str | None, namespace: str, service_account: str, role: str | None,
    policy_file: list[str] | None, policy_arn: list[str] | None, max_session: str | None, permissions_boundary: str | None,
    kubeconfig: Path | None, context: str | None, state: Path | None, json_output: bool,
) -> Options:  # fmt: skip
    from towpath.errors import UsageError
    from towpath.identity import manifest as manifests
    from towpath.identity.commands import Options

    if manifest is not None and (eks or issuer or role):
        raise UsageError("--manifest and the flags of one identity exclude each other", where="flags", todo="use the file, or the flags")
    if manifest is not None:
        wanted = manifests.load_manifest(manifest)
    else:
        wanted = (
            manifests.from_flags(
                eks=eks, issuer=issuer, cluster=cluster, region=region, namespace=namespace, service_account=service_account, role=role,
                policy_files=policy_file or (), policy_arns=policy_arn or (), max_session=max_session, permissions_boundary=permissions_boundary,
            ),  # fmt: skip
        )
    return Options(wanted=wanted, kubeconfig=kubeconfig, context=context, state=state, as_json=json_output)
