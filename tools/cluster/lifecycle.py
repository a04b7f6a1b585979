"""Up and down, as a story: each step waits until the next can rely on it; a failed start takes everything back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tools.cluster import binaries, daemons, images, network, pki
from tools.cluster.binaries import Unavailable, say
from tools.cluster.settings import NODE, Settings

STOPPED_FIRST = ("kubelet", "kube-proxy", "kube-router", "kube-scheduler", "kube-controller-manager")
# What kube-router reads, and nothing else.
WATCHED = "pods,nodes,namespaces,services,endpoints,endpointslices.discovery.k8s.io,networkpolicies.networking.k8s.io"


def why_not() -> str:
    """Why no cluster can run on this machine, by trying what one needs; "" when it can."""
    if sys.platform != "linux" or shutil.which("dpkg") is None:
        return "it needs Debian: containerd and etcd come from its packages"
    if os.geteuid() != 0:
        return "it needs root: containers, mounts and a network bridge are made"
    for root in daemons.hierarchies():
        trial = root / f"towpath-trial-{os.getpid()}"
        try:
            trial.mkdir()
            trial.rmdir()
        except OSError as error:
            return f"no control group can be made under {root}: {error.strerror}"
    trials = {
        "network namespaces": ["unshare", "--net", "true"],
        "mounts": ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
    }
    for what, command in trials.items():
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            return f"{what} are not allowed here: {done.stderr.strip()}"
    return ""


class Cluster:
    """One cluster by its settings, running or not."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._daemons = daemons.Daemons(settings.directory / "daemons", settings.name)
        self._limits = f"/{settings.name}"

    def up(self) -> None:
        """Start, or find running. Raises Unavailable, with nothing left behind."""
        settings = self.settings
        if reason := why_not():
            raise Unavailable(f"no cluster on this machine: {reason}")
        if self.ready():
            return
        binaries.installed(policies=settings.policies)
        wanted = [binaries.kubernetes, binaries.debian, *([binaries.kube_router] if settings.policies else [])]
        with ThreadPoolExecutor(len(wanted)) as pool:
            for program in [pool.submit(get) for get in wanted]:
                program.result()
        self.down()
        started = time.monotonic()
        settings.directory.mkdir(parents=True, mode=0o711, exist_ok=True)
        try:
            network.up(settings)
            pki.make(settings)
            runtime = threading.Thread(target=self._containerd)
            runtime.start()
            self._etcd()
            self._apiserver()
            runtime.join()
            images.load_basic(settings)
            self._controllers()
            self._kubelet()
            self._proxy()
            self._open_discovery()
            # kube-router writes the whole filter table anew: what kube-proxy was writing at that moment would be lost.
            self._wait("kube-proxy", lambda: network.services_reached(settings))
            if settings.policies:
                self._policies()
        except BaseException:
            say("could not be started; taking everything back")
            self.down()
            raise
        say(f"ready in {time.monotonic() - started:.1f} s: KUBECONFIG={settings.kubeconfig}")

    def ready(self) -> bool:
        return self._daemons.running("kubelet") is not None and self._answers("/readyz") and self._node_ready()

    def enforces_policies(self) -> bool:
        return self._daemons.running("kube-router") is not None

    def down(self) -> None:
        """Take everything away: processes, containers, mounts, network, cgroups, packet filter, sysctls, files."""
        settings = self.settings
        if not settings.directory.exists():
            return
        with ThreadPoolExecutor(len(STOPPED_FIRST)) as pool:
            list(pool.map(self._daemons.stop, STOPPED_FIRST))
        if self._daemons.running("containerd") is not None:
            self._end_containers()
        for name in ("kube-apiserver", "etcd", "containerd"):
            self._daemons.stop(name)
        daemons.remove_cgroups(settings.name)
        self._unmount()
        with contextlib.suppress(Unavailable):
            network.down(settings)
        for link in Path("/var/log/containers").glob("*.log"):
            if str(settings.directory) in str(link.readlink()):
                link.unlink()
        shutil.rmtree(settings.directory, ignore_errors=True)

    def kubectl(self, *words: str) -> str:
        return binaries.run([self._program("kubectl"), "--kubeconfig", str(self.settings.kubeconfig), *words])

    # --- the daemons -----------------------------------------------------------------------------------------------

    def _containerd(self) -> None:
        settings, folder = self.settings, self.settings.directory / "containerd"
        folder.mkdir(exist_ok=True)
        unpacked = binaries.debian()
        runc = next(unpacked.glob("usr/*bin/runc"))
        (folder / "config.toml").write_text(
            f"""version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{settings.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{unpacked}/usr/lib/cni"
    conf_dir = "{settings.directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
"""
        )
        path = f"{unpacked}/usr/bin:{unpacked}/usr/sbin:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        command = [str(unpacked / "usr/bin/containerd"), "--config", str(folder / "config.toml")]
        self._daemons.start("containerd", command, environment={"PATH": path})
        self._wait("containerd", lambda: bool(images.ctr(settings, "version")))

    def _etcd(self) -> None:
        port = self.settings.etcd_port
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
        flags = {
            "data-dir": self.settings.directory / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",  # a test cluster's state is worth nothing after a power cut
        }
        self._daemons.start("etcd", [str(binaries.debian() / "usr/bin/etcd"), *_flags(flags)])
        self._wait("etcd", lambda: _get(f"{client}/health"))

    def _apiserver(self) -> None:
        settings, pki_folder = self.settings, self.settings.directory / "pki"
        flags = {
            "etcd-servers": f"http://127.0.0.1:{settings.etcd_port}",
            "bind-address": settings.node_address,
            "advertise-address": settings.node_address,
            "secure-port": settings.port,
            "tls-cert-file": pki_folder / "apiserver.crt",
            "tls-private-key-file": pki_folder / "apiserver.key",
            "client-ca-file": pki_folder / "ca.crt",
            "cert-dir": settings.directory / "apiserver",
            "kubelet-client-certificate": pki_folder / "apiserver-kubelet-client.crt",
            "kubelet-client-key": pki_folder / "apiserver-kubelet-client.key",
            "kubelet-certificate-authority": pki_folder / "ca.crt",
            "kubelet-preferred-address-types": "InternalIP",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "anonymous-auth": "true",  # the issuer's two documents are public, and nothing else
            "allow-privileged": "true",
            "service-cluster-ip-range": settings.services,
            "service-account-issuer": settings.issuer,
            "service-account-jwks-uri": f"{settings.issuer}/openid/v1/jwks",
            "service-account-key-file": pki_folder / "sa.pub",
            "service-account-signing-key-file": pki_folder / "sa.key",
            "event-ttl": "1h",
        }
        self.start_apiserver = [self._program("kube-apiserver"), *_flags(flags)]
        (settings.directory / "apiserver.json").write_text(json.dumps(self.start_apiserver))
        self.resume_apiserver()

    def resume_apiserver(self) -> None:
        """Start the API server as `up` did; tests stop it in between."""
        command = json.loads((self.settings.directory / "apiserver.json").read_text())
        self._daemons.start("kube-apiserver", command)
        self._wait("kube-apiserver", lambda: self._answers("/readyz"))

    def stop_apiserver(self) -> None:
        self._daemons.stop("kube-apiserver")

    def _controllers(self) -> None:
        settings, pki_folder = self.settings, self.settings.directory / "pki"
        for place, (name, more) in enumerate(
            {
                "kube-controller-manager": {
                    "node-monitor-period": "1s",
                    "node-monitor-grace-period": "16s",
                    "use-service-account-credentials": "true",
                    "service-account-private-key-file": pki_folder / "sa.key",
                    "root-ca-file": pki_folder / "ca.crt",
                    "cluster-signing-cert-file": pki_folder / "ca.crt",
                    "cluster-signing-key-file": pki_folder / "ca.key",
                    "service-cluster-ip-range": settings.services,
                    "kube-api-qps": "200",
                    "kube-api-burst": "400",
                },
                "kube-scheduler": {},
            }.items()
        ):
            config = pki_folder / f"{name}.kubeconfig"
            flags: dict[str, Any] = {
                "kubeconfig": config,
                "authentication-kubeconfig": config,
                "authorization-kubeconfig": config,
                "cert-dir": settings.directory / name,
                "bind-address": "127.0.0.1",
                "secure-port": settings.ports + 2 + place,
                "leader-elect": "false",
                **more,
            }
            self._daemons.start(name, [self._program(name), *_flags(flags)])

    def _kubelet(self) -> None:
        settings, pki_folder = self.settings, self.settings.directory / "pki"
        (settings.directory / "resolv.conf").write_text("options ndots:1\n")
        for root in daemons.hierarchies():
            daemons.make_cgroup(root / settings.name / "pods", root)
        configuration = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": settings.node_address,
            "port": settings.kubelet_port,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": settings.ports + 4,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki_folder / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki_folder / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(pki_folder / "kubelet-server.key"),
            "containerRuntimeEndpoint": f"unix://{settings.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{settings.name}/pods",
            "failCgroupV1": False,
            "failSwapOn": False,
            "maxPods": 250,
            "resolvConf": str(settings.directory / "resolv.conf"),
            "podLogsDir": str(settings.directory / "logs"),
            "volumePluginDir": str(settings.directory / "volume-plugins"),
            "makeIPTablesUtilChains": False,
            "enforceNodeAllocatable": ["pods"],
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "serializeImagePulls": False,
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "10s",
            "nodeLeaseDurationSeconds": 12,
        }
        file = settings.directory / "kubelet.yaml"
        file.write_text(yaml.safe_dump(configuration))
        flags = {
            "config": file,
            "kubeconfig": pki_folder / "kubelet.kubeconfig",
            "root-dir": settings.directory / "kubelet",
            "cert-dir": settings.directory / "kubelet-pki",
            "hostname-override": NODE,
            "node-ip": settings.node_address,
        }
        command = [self._program("kubelet"), *_flags(flags)]
        (settings.directory / "kubelet.json").write_text(json.dumps(command))
        self.resume_kubelet()

    def resume_kubelet(self) -> None:
        command = json.loads((self.settings.directory / "kubelet.json").read_text())
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        # Its ECR credential provider otherwise asks the instance metadata service, which is not there, and waits.
        self._daemons.start("kubelet", command, environment={"PATH": path, "AWS_EC2_METADATA_DISABLED": "true"})
        self._wait("kubelet", self._node_ready, seconds=90)

    def stop_kubelet(self) -> None:
        self._daemons.stop("kubelet")

    def _proxy(self) -> None:
        settings = self.settings
        flags = {
            "kubeconfig": settings.directory / "pki" / "kube-proxy.kubeconfig",
            "hostname-override": NODE,
            "proxy-mode": "iptables",
            "cluster-cidr": settings.pods,
            "nodeport-addresses": "primary",
            "healthz-bind-address": f"127.0.0.1:{settings.ports}",
            "metrics-bind-address": f"127.0.0.1:{settings.ports + 1}",
            "conntrack-max-per-core": 0,
            "conntrack-tcp-timeout-established": 0,
            "conntrack-tcp-timeout-close-wait": 0,
        }
        environment = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
        self._daemons.start("kube-proxy", [self._program("kube-proxy"), *_flags(flags)], environment=environment)

    def _policies(self) -> None:
        """kube-router as a firewall and nothing else: NetworkPolicies become rules of the packet filter."""
        settings = self.settings
        self.kubectl("create", "clusterrole", "kube-router", "--verb=get,list,watch", f"--resource={WATCHED}")
        self.kubectl("create", "clusterrolebinding", "kube-router", "--clusterrole=kube-router", "--user=kube-router")
        flags = {
            "run-firewall": "true",
            "run-router": "false",
            "run-service-proxy": "false",
            "kubeconfig": settings.directory / "pki" / "kube-router.kubeconfig",
            "hostname-override": NODE,
            "service-cluster-ip-range": settings.services,
            "health-port": 0,  # it would listen on every address
            "metrics-port": 0,
        }
        environment = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
        self._daemons.start("kube-router", [binaries.kube_router(), *_flags(flags)], environment=environment)
        self._wait("kube-router", network.enforced)

    def _open_discovery(self) -> None:
        """The issuer's two documents for everybody, as on EKS: STS reads them without credentials."""
        role = "system:service-account-issuer-discovery"
        binding = ["clusterrolebinding", "towpath-issuer-discovery", f"--clusterrole={role}"]
        self.kubectl("create", *binding, "--group=system:unauthenticated")
        self._wait("kube-apiserver", lambda: self._answers("/.well-known/openid-configuration"))
        self._wait(
            "kube-controller-manager", lambda: bool(self.kubectl("get", "serviceaccount", "default", "-o", "name"))
        )

    # --- questions and ends ----------------------------------------------------------------------------------------

    def _program(self, name: str) -> str:
        return str(binaries.kubernetes() / name)

    def _answers(self, path: str) -> bool:
        context = (
            ssl.create_default_context(cafile=str(self.settings.ca_file)) if self.settings.ca_file.exists() else None
        )
        return _get(self.settings.server + path, context)

    def _node_ready(self) -> bool:
        """Ready, and without a taint: until then no pod is placed."""
        try:
            node = json.loads(self.kubectl("get", "node", NODE, "-o", "json"))
        except Unavailable:
            return False
        ready = any(
            each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", [])
        )
        return ready and not node["spec"].get("taints")

    def _wait(self, name: str, true: Callable[[], bool], *, seconds: float = 60) -> None:
        def settled() -> bool:
            if self._daemons.running(name) is None:
                raise Unavailable(f"{name} ended:\n{self._daemons.last_words(name)}")
            try:
                return true()
            except Unavailable:
                return False

        if not daemons.wait(settled, seconds):
            raise Unavailable(f"{name} is not ready after {seconds:.0f} s:\n{self._daemons.last_words(name)}")

    def _end_containers(self) -> None:
        with contextlib.suppress(Unavailable):
            tasks = images.ctr(self.settings, "tasks", "ls", "-q").split()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(self._end_container, tasks))

    def _end_container(self, name: str) -> None:
        with contextlib.suppress(Unavailable):
            images.ctr(self.settings, "tasks", "rm", "-f", name)

    def _unmount(self) -> None:
        for _ in range(3):
            mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
            ours = [path for path in mounts if path.startswith(f"{self.settings.directory}/")]
            if not ours:
                return
            for path in sorted(ours, reverse=True):
                subprocess.run(["umount", path], check=False, capture_output=True)
        for path in ours:
            subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)


def _flags(values: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _get(url: str, context: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return answer.status == 200
    except (OSError, urllib.error.HTTPError):
        return False
