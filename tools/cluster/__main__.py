"""python -m tools.cluster up | down | env | load IMAGE.tar | can: a real Kubernetes on this machine. Needs root and Debian.

`can` ends with 3, and says why, on a machine that cannot run one.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from pathlib import Path

from tools.cluster import images
from tools.cluster.binaries import Unavailable
from tools.cluster.lifecycle import Cluster, why_not
from tools.cluster.settings import Settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "env", "load", "can"])
    parser.add_argument("archive", nargs="?", type=Path, help="an image as an OCI or docker archive, for load")
    words = {
        "directory": "all state",
        "name": "bridge, cgroup and network",
        "pods": "the pods' network",
        "policies": "whether NetworkPolicies are enforced: yes or no",
    }
    for field in dataclasses.fields(Settings):
        default = os.environ.get(f"TOWPATH_CLUSTER_{field.name.upper()}", str(field.default))
        kind = {"int": int, "Path": Path, "bool": _truth}.get(str(field.type), str)
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=kind(default),
            help=f"{words.get(field.name, field.name.replace('_', ' '))} (default: {default})",
        )
    given = vars(parser.parse_args())
    command, archive = given.pop("command"), given.pop("archive")
    if command == "can":
        reason = why_not()
        print(f"cluster: {reason or 'can run here'}", file=sys.stderr)
        return 3 if reason else 0
    cluster = Cluster(Settings(**given))
    settings = cluster.settings
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if command == "up":
            cluster.up()
        if command == "load":
            images.load(settings, archive)
        if command == "down":
            cluster.down()
        elif command != "load":
            print(f"export KUBECONFIG={settings.kubeconfig}")
            print(f"export TOWPATH_SANDBOX_MAP_ISSUER={settings.issuer}={settings.server},{settings.ca_file}")
            print(f"export TOWPATH_SANDBOX_LISTEN={settings.node_address}")
    except Unavailable as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _truth(text: str) -> bool:
    """Raises ArgumentTypeError for anything but yes and no."""
    try:
        return {"yes": True, "true": True, "no": False, "false": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no") from None


sys.exit(main())
