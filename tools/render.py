"""Render the chart into src/towpath/agent/install.yaml, from which `towpath agent install` makes plain YAML."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from tools.cluster import binaries

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "deploy" / "chart"
RENDERED: Final = ROOT / "src" / "towpath" / "agent" / "install.yaml"
# Values that `towpath agent install` fills with its own.
PLACES: Final[dict[str, Any]] = {
    "region": "us-east-1",
    "pipelines": [{"name": "placeholder", "source": {}, "destination": {}}],
}


def template(values: dict[str, Any], *, namespace: str) -> str:
    """The chart's YAML for these values. Raises Unavailable with helm's words."""
    command = [binaries.helm(), "template", "towpath", str(CHART), "--namespace", namespace, "--values", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)
    if done.returncode:
        raise binaries.Unavailable(done.stderr.strip())
    return done.stdout


if __name__ == "__main__":
    RENDERED.write_text(template(PLACES, namespace="default"))
    print(f"{RENDERED.relative_to(ROOT)} rendered", file=sys.stderr)
