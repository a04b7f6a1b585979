"""The bridge that pods and node share, and what kube-proxy and kube-router leave in the packet filter."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tools.cluster.binaries import Unavailable
from tools.cluster.settings import Settings

MTU: Final = 1400
MODULE: Final = "br_netfilter"
BRIDGE_FILTER: Final = "net/bridge/bridge-nf-call-iptables"
SETS: Final = re.compile(r"^(?:inet6:)?KUBE-(?:SRC|DST)-\w+$", re.MULTILINE)  # kube-router's address sets
CHAINS: Final = re.compile(r"^:((?:KUBE|CNI)-[\w-]+)", re.MULTILINE)
# What kubelet, kube-proxy and the bridge change; put back on the way down.
SYSCTLS: Final = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/vs/conntrack",
    BRIDGE_FILTER,
    "net/bridge/bridge-nf-call-ip6tables",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
)


def up(settings: Settings) -> None:
    """The bridge with the node's address, before any pod needs it: the API server and the sandbox listen there."""
    if settings.policies:
        _load_bridge_filter(settings)
    saved = settings.directory / "sysctls.json"
    if not saved.exists():
        saved.write_text(json.dumps({name: value for name in SYSCTLS if (value := read_sysctl(name)) is not None}))
    if settings.policies and read_sysctl(BRIDGE_FILTER) != "1":
        Path("/proc/sys", BRIDGE_FILTER).write_text("1")
    if not Path(f"/sys/class/net/{settings.name}").exists():
        _ip("link", "add", settings.name, "type", "bridge")
    _ip("link", "set", settings.name, "up", "mtu", str(MTU))
    _ip("address", "replace", f"{settings.node_address}/{settings.prefix_length}", "dev", settings.name)
    folder = settings.directory / "cni"
    folder.mkdir(parents=True, exist_ok=True)
    bridge = {
        "type": "bridge",
        "bridge": settings.name,
        "isGateway": True,
        "ipMasq": False,
        "mtu": MTU,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(settings.directory / "addresses"),
            "ranges": [[{"subnet": settings.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    (folder / "10-bridge.conflist").write_text(
        json.dumps({"cniVersion": "0.4.0", "name": settings.name, "plugins": [bridge]})
    )


def down(settings: Settings) -> None:
    if Path(f"/sys/class/net/{settings.name}").exists():
        _ip("link", "delete", settings.name)
    for program in ("iptables", "ip6tables"):
        if shutil.which(program, path="/usr/sbin:/sbin"):
            _flush(program)
    for name in address_sets():
        _run("ipset", "destroy", name)
    for path in Path("/var/lib/cni/results").glob(f"{settings.name}-*"):
        path.unlink(missing_ok=True)
    saved = settings.directory / "sysctls.json"
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            if read_sysctl(name) not in {None, value}:
                Path("/proc/sys", name).write_text(value)
    if (settings.directory / MODULE).exists():
        _run("modprobe", "--remove", MODULE)


def services_reached(settings: Settings) -> bool:
    """Whether kube-proxy's rules are in place, all at once: the API server's own service among them."""
    return f" {settings.kubernetes_service}/32 " in _run("iptables", "-t", "nat", "-S", "KUBE-SERVICES")


def enforced() -> bool:
    """Whether kube-router has gone once through everything: the last rule it writes is there."""
    return "0x20000" in _run("iptables", "-S", "KUBE-ROUTER-FORWARD")


def address_sets() -> list[str]:
    """Names of the address sets that kube-router made."""
    return SETS.findall(_run("ipset", "list", "-name"))


def _load_bridge_filter(settings: Settings) -> None:
    """Without it packets between two pods of one bridge pass no packet filter. Remembered, to be taken out again."""
    if read_sysctl(BRIDGE_FILTER) is None:
        _run("modprobe", MODULE)
        if read_sysctl(BRIDGE_FILTER) is None:
            raise Unavailable(
                f"the kernel module {MODULE} cannot be loaded: try --policies no, without NetworkPolicies"
            )
        (settings.directory / MODULE).touch()


def read_sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _flush(program: str) -> None:
    """Take out the chains of kube-proxy and CNI, and the rules that lead to them; nobody else's."""
    saved = subprocess.run([f"{program}-save"], check=False, capture_output=True, text=True).stdout
    for table in re.findall(r"^\*(\w+)\n(.*?)^COMMIT", saved, re.MULTILINE | re.DOTALL):
        name, content = table
        chains = CHAINS.findall(content)
        for rule in re.findall(r"^-A (.+)$", content, re.MULTILINE):
            chain = rule.split()[0]
            if chain not in chains and re.search(r"-j (KUBE|CNI)-", rule):
                subprocess.run([program, "-t", name, "-D", *shlex.split(rule)], check=False, capture_output=True)
        for action in ("-F", "-X"):
            for chain in chains:
                subprocess.run([program, "-t", name, action, chain], check=False, capture_output=True)


def _run(program: str, *words: str) -> str:
    """What the program says; "" when it fails or is not there."""
    found = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        return ""
    return subprocess.run([found, *words], check=False, capture_output=True, text=True).stdout


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
