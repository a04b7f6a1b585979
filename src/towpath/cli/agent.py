"""`towpath agent`: the process in your cluster that launches syncs as Jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Launch syncs as Jobs in your Kubernetes, watch them, and say what goes wrong.", no_args_is_help=True
)


@app.command()
def run(
    queue: Annotated[
        Path, typer.Option("--from", metavar="FILE", help="The pipelines to run, as docs/pipelines.md has them.")
    ],
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", metavar="FILE", help="How Jobs are launched: image, resources, nodes. See docs/agent.md."
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Namespace of the Jobs. Default: the kubeconfig's, or the pod's own."),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option("--kubeconfig", help="Kubeconfig of the cluster. Default: as kubectl finds it, or the pod's own."),
    ] = None,
    context: Annotated[str | None, typer.Option("--context", help="Context in the kubeconfig.")] = None,
    name: Annotated[str, typer.Option("--name", help="Name of this agent, for its ledger and its Jobs.")] = "default",
    again: Annotated[
        str, typer.Option("--run", metavar="TEXT", help="Names this run of the file; a new name runs everything again.")
    ] = "",
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=1000, help="Attempts at the same time.")] = 10,
    retries: Annotated[int, typer.Option("--retries", min=0, max=100, help="Further tries of a sync that failed.")] = 2,
    forever: Annotated[
        bool, typer.Option("--forever", help="Go on when all is done, and take up what is added to the file.")
    ] = False,
    alive: Annotated[
        Path | None,
        typer.Option(
            "--alive", metavar="FILE", help="Touch this file while the loop makes progress, for a probe.", hidden=True
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="A line of JSON for each change.")] = False,
) -> None:
    """Launch each sync as a Job, watch it, and end with 0 when all succeeded. Ctrl-C ends the Jobs; SIGTERM leaves them for the next agent."""
    from towpath.agent import main

    options = main.AgentOptions(
        queue=queue,
        settings=settings,
        namespace=namespace,
        kubeconfig=kubeconfig,
        context=context,
        name=name,
        run=again,
        at_once=at_once,
        retries=retries,
        forever=forever,
        as_json=json_output,
        alive=alive,
    )
    raise typer.Exit(main.run(options))


@app.command()
def install(
    queue: Annotated[Path, typer.Option("--from", metavar="FILE", help="The pipelines the agent runs.")],
    region: Annotated[str, typer.Option("--region", envvar="AWS_REGION", help="AWS region of the Jobs.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of the agent and its Jobs.")
    ] = "default",
    settings: Annotated[Path | None, typer.Option("--settings", metavar="FILE", help="How Jobs are launched.")] = None,
    name: Annotated[str, typer.Option("--name", help="Name of this agent.")] = "default",
    image: Annotated[str | None, typer.Option("--image", help="The agent's image. Default: the release's own.")] = None,
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=1000, help="Attempts at the same time.")] = 10,
    retries: Annotated[int, typer.Option("--retries", min=0, max=100, help="Further tries of a sync that failed.")] = 2,
) -> None:
    """Print the agent's objects as YAML for `kubectl apply -f -`. The Helm chart in deploy/chart makes the same."""
    from towpath.agent import install as installing

    wanted = installing.Installation(
        namespace=namespace,
        region=region,
        queue=queue,
        settings=settings,
        name=name,
        image=image,
        at_once=at_once,
        retries=retries,
    )
    typer.echo(installing.as_yaml(installing.manifests(wanted)), nl=False)
