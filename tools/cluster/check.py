"""python -m tools.cluster.check: bring the cluster up, use it, take it down, and find nothing of it: the machine is as it was."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.cluster import network
from tools.cluster.binaries import Unavailable, say
from tools.cluster.daemons import CGROUPS
from tools.cluster.images import BUSYBOX
from tools.cluster.lifecycle import Cluster
from tools.cluster.settings import Settings

# Counters and states that change by themselves.
RESTLESS: Final = re.compile(
    r"^(fs/(dentry-state|file-nr|inode|aio-nr|quota)|kernel/(random|ns_last_pid|pty/nr|keys|perf|sched_domain)"
    r"|net/(netfilter/nf_conntrack_(count|buckets|expect)|ipv[46]/(conf|neigh|route|tcp_|ip_local|fib)|unix|core|ipv4/vs|nf_conntrack_max)"
    r"|vm/(stat|drop_caches|compact)|debug|sunrpc|abi|dev)"
)


def snapshot(settings: Settings) -> dict[str, set[str]]:
    """What a cluster could leave behind."""
    processes: set[str] = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(settings.directory) in text or "containerd-shim" in text:
            processes.add(text)
    rules = {
        f"{program} {line}"
        for program in ("iptables-save", "ip6tables-save")
        for line in output(program).splitlines()
        if line.startswith("-A") or "KUBE" in line or "CNI" in line
    }
    loaded = Path("/proc/modules")
    modules = loaded.read_text() if loaded.exists() else ""
    return {
        "processes": processes,
        "mounts": {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()},
        "network namespaces": set(output("ip", "netns").split()),
        "links": set(re.findall(r"^\d+: ([^:@]+)", output("ip", "-o", "link"), re.MULTILINE)),
        "packet filter": rules,
        "address sets": set(network.address_sets()),
        "kernel modules": {line.split()[0] for line in modules.splitlines() if line.startswith(network.MODULE)},
        "cgroups": {str(path) for path in CGROUPS.glob(f"*/{settings.name}")}
        | {str(p) for p in CGROUPS.glob("*/kubepods*")},
        "sysctls": sysctls(),
    }


def sysctls() -> set[str]:
    found: set[str] = set()
    root = Path("/proc/sys")
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_file() and not RESTLESS.match(name):
            try:
                found.add(f"{name} = {path.read_text().strip()}")
            except (OSError, UnicodeDecodeError):
                continue
    return found


def output(*command: str) -> str:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    return done.stdout


def main() -> int:
    cluster = Cluster(Settings())
    cluster.down()
    before = snapshot(cluster.settings)
    try:
        cluster.up()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            words = "{apiVersion: batch/v1, kind: Job, metadata: {name: used}, spec: {template: {spec: {restartPolicy: Never, "
            file.write(
                f"{words}containers: [{{name: c, image: '{BUSYBOX}', imagePullPolicy: Never, command: ['true']}}]}}}}}}}}\n"
            )
            file.flush()
            cluster.kubectl("create", "-f", file.name)
        cluster.kubectl("wait", "--for=condition=complete", "job/used", "--timeout=60s")
    except Unavailable as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    finally:
        cluster.down()
    after = snapshot(cluster.settings)
    wrong = False
    for what, was in before.items():
        for item in sorted(after[what] ^ was):
            wrong = True
            print(f"{what}: {'left behind' if item in after[what] else 'taken away'}: {item}", file=sys.stderr)
    if not wrong:
        say("up, used and down again: no process, mount, namespace, link, rule, address set, cgroup or setting is left")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
