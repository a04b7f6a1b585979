"""Images without a registry: a folder becomes an OCI image in a tar file, which containerd imports."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Final

from tools.cluster import binaries
from tools.cluster.settings import Settings

PAUSE: Final = "towpath.local/pause:1"
BUSYBOX: Final = "towpath.local/busybox:1"
APPLETS: Final = (
    "sh",
    "sleep",
    "cat",
    "true",
    "false",
    "echo",
    "env",
    "ls",
    "wget",
    "head",
    "dd",
    "id",
    "tail",
    "seq",
    "date",
    "nc",
    "httpd",
    "nslookup",
    "grep",
    "kill",
)


def load_basic(settings: Settings) -> None:
    """The two images every cluster has: pause, and busybox for tests."""
    folder = settings.directory / "images"
    pause = folder / "pause"
    shutil.rmtree(folder, ignore_errors=True)
    pause.mkdir(parents=True)
    shutil.copy2(binaries.pause() / "pause", pause / "pause")
    load(settings, pack(folder / "pause.tar", PAUSE, pause, entrypoint=["/pause"]))
    busybox = folder / "busybox"
    for name in ("bin", "etc", "tmp", "root"):
        (busybox / name).mkdir(parents=True)
    shutil.copy2(next(binaries.debian().glob("*bin/busybox")), busybox / "bin" / "busybox")
    for name in APPLETS:
        (busybox / "bin" / name).symlink_to("busybox")
    (busybox / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    load(settings, pack(folder / "busybox.tar", BUSYBOX, busybox, command=["/bin/sh"]))


def load(settings: Settings, archive: Path) -> None:
    ctr(settings, "images", "import", str(archive))


def ctr(settings: Settings, *words: str) -> str:
    program = binaries.debian() / "usr" / "bin" / "ctr"
    return binaries.run([str(program), "-a", str(settings.containerd_socket), "-n", "k8s.io", *words])


def pack(
    archive: Path, name: str, root: Path, *, entrypoint: list[str] | None = None, command: list[str] | None = None
) -> Path:
    """An OCI image layout of one layer; the same folder gives the same bytes."""
    layer = subprocess.run(
        [
            "tar",
            "-C",
            str(root),
            "--numeric-owner",
            "--owner=0",
            "--group=0",
            "--sort=name",
            "--mtime=@0",
            "-cf",
            "-",
            ".",
        ],
        check=True,
        capture_output=True,
    ).stdout
    configuration = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin:/usr/bin"], "Entrypoint": entrypoint, "Cmd": command, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("config.v1+json", configuration),
            "layers": [_descriptor("layer.v1.tar", layer)],
        }
    )
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                **_descriptor("manifest.v1+json", manifest),
                "platform": {"architecture": "amd64", "os": "linux"},
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                },
            }
        ],
    }
    with tarfile.open(archive, "w") as file:
        contents = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": _json(index)}
        contents |= {f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (layer, configuration, manifest)}
        for path, content in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return archive


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
