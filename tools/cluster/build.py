"""The shipped Dockerfiles, built here: Debian's buildah over a debootstrap base, as there is no registry to take a base image from.

The very files a release would use; only BASE differs. What was built stays in buildah's own layer cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tools.cluster import binaries, images
from tools.cluster.binaries import say
from tools.cluster.settings import Settings, cache_directory

ROOT: Final = Path(__file__).resolve().parent.parent.parent
BASE: Final = "localhost/towpath-base:bookworm-1"
JOB: Final = "towpath.local/job:test"
AGENT: Final = "towpath.local/agent:test"
PACKAGES: Final = "python3,python3-venv,ca-certificates"


def build(name: str) -> str:
    """Build deploy/NAME.Dockerfile and give the image's name. Raises Unavailable."""
    _programs()
    _base()
    image = {"job": JOB, "agent": AGENT}[name]
    say(f"building the {name} image (minutes the first time)")
    # Without the machine's own certificates a package index behind a private CA cannot be reached from inside.
    certificates = [
        "--volume",
        "/etc/ssl/certs:/etc/ssl/certs:ro",
        "--build-arg",
        "PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
    ]
    command = ["buildah", "build", "--isolation", "chroot", "--layers", "--format", "oci", "--quiet"]
    command += [*certificates, "--build-arg", f"BASE={BASE}", "-f", f"deploy/{name}.Dockerfile", "-t", image, "."]
    binaries.run(command, cwd=ROOT)
    return image


def load(settings: Settings, image: str) -> None:
    """Put a built image into the cluster's containerd."""
    folder = settings.directory / "images"
    folder.mkdir(exist_ok=True)
    archive = folder / f"{image.rpartition('/')[2].replace(':', '-')}.tar"
    archive.unlink(missing_ok=True)
    binaries.run(["buildah", "push", "--quiet", "--disable-compression", image, f"oci-archive:{archive}:{image}"])
    images.load(settings, archive)
    archive.unlink()


def _programs() -> None:
    missing = [
        name for name in ("buildah", "debootstrap") if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None
    ]
    if missing:
        say(f"installing Debian's {', '.join(missing)}")
        binaries.run(["apt-get", "update", "-qq"])
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        binaries.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=environment)


def _base() -> None:
    """A Debian with Python, as an image in buildah's storage; made by debootstrap once."""
    if (
        subprocess.run(["buildah", "inspect", "--type", "image", BASE], check=False, capture_output=True).returncode
        == 0
    ):
        return
    say("making the base image with debootstrap (a minute, once)")
    archive = cache_directory() / "base-bookworm-1.tar"
    if not archive.exists():
        root = cache_directory() / f"base.{os.getpid()}.partial"
        mirror = binaries.mirror()
        try:
            root.mkdir(parents=True)
            binaries.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), mirror])
            for path in (
                "var/cache/apt/archives",
                "var/lib/apt/lists",
                "usr/share/doc",
                "usr/share/man",
                "usr/share/locale",
            ):
                shutil.rmtree(root / path, ignore_errors=True)
            partial = archive.with_suffix(".partial")
            binaries.run(["tar", "-C", str(root), "--numeric-owner", "-cf", str(partial), "."])
            partial.rename(archive)
        finally:
            shutil.rmtree(root, ignore_errors=True)
    container = binaries.run(["buildah", "from", "scratch"]).strip()
    try:
        binaries.run(["buildah", "add", "--quiet", container, str(archive), "/"])
        binaries.run(["buildah", "config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container])
        binaries.run(["buildah", "commit", "--quiet", container, BASE])
    finally:
        binaries.run(["buildah", "rm", container])
