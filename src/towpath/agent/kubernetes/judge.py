"""What the state of a Job, its pod and their events means for the attempt, in words. Pure: API objects as JSON in, a State out.

The sources are the API's own conditions and reasons: "Pod Lifecycle" (phases, container states, the condition DisruptionTarget),
"Jobs" (conditions, deadline) and the event reasons of kubelet, scheduler and job controller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from towpath.agent.kubernetes.job import CONTAINER, TOKEN_VOLUME
from towpath.agent.work import Phase, State
from towpath.job.result import Result

Object = Mapping[str, Any]

# A waiting container's reason -> (code, what it means, what to do). The kubelet's message is put between.
_WAITING: Final = {
    "ErrImagePull": ("image", "the image cannot be pulled", "check the image's name, the registry, and imagePullSecrets"),
    "ImagePullBackOff": ("image", "the image cannot be pulled", "check the image's name, the registry, and imagePullSecrets"),
    "ErrImageNeverPull": ("image", "the image is not on the node, and imagePullPolicy is Never", "load the image onto the node, or set imagePullPolicy: IfNotPresent"),
    "InvalidImageName": ("image", "the image's name is not valid", "correct image in the job settings"),
    "RegistryUnavailable": ("image", "the image's registry does not answer", "check the registry and the node's network"),
    "CreateContainerConfigError": ("configuration", "the container's configuration cannot be made", "create the Secret or key it names"),
    "CreateContainerError": ("configuration", "the container cannot be created", "see the message"),
    "RunContainerError": ("configuration", "the container cannot be started", "see the message; check command in the job settings"),
}  # fmt: skip
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": ("preempted", "the scheduler took the pod away for one of higher priority"),
    "DeletionByTaintManager": ("node-lost", "the node went away or was tainted, and the pod was taken off it"),
    "EvictionByEvictionAPI": ("evicted", "the pod was evicted, as when a node is drained"),
    "DeletionByPodGC": ("node-lost", "the pod's node no longer exists"),
    "TerminationByKubelet": (
        "evicted",
        "the node's kubelet ended the pod for lack of a resource, or at its own shutdown",
    ),
}
_TOKEN: Final = re.compile(rf'"{TOKEN_VOLUME}"|serviceaccount.?token|token', re.IGNORECASE)


def judge(job: Object | None, pod: Object | None, events: Sequence[Object] = (), *, log: Sequence[str] = ()) -> State:
    """Where the attempt stands. `events` are those of the Job and its pod, oldest first; `log` the pod's last lines, for a crash.

    `job` is None when it is gone from the cluster; `pod` when there is none yet.
    """
    if pod is not None:
        ended = _ended(job, pod, log)
        if ended is not None:
            return ended
    if job is None:
        return State(
            phase=Phase.DISRUPTED,
            code="job-gone",
            what="the Job was deleted before its result was seen",
            todo="find out who deletes Jobs in this namespace: the agent does it itself, after the result",
        )
    failed = _condition(job, "Failed")
    if failed is not None or _overdue(job):
        return _job_failed(job, failed or {}, pod)
    if pod is None:
        return _not_created(events)
    if pod.get("metadata", {}).get("deletionTimestamp") and not _running(pod):
        return State(
            phase=Phase.DISRUPTED,
            code="deleted",
            what="the pod was deleted before its container ran",
            todo="nothing: the next attempt is launched",
        )
    return _alive(pod, events)


def asked(pod: Object) -> str:
    """What the pod asks of a node, in one line."""
    spec = pod.get("spec", {})
    requests: dict[str, str] = {}
    for container in spec.get("containers", ()):
        requests |= container.get("resources", {}).get("requests", {})
    parts = [f"{name} {amount}" for name, amount in sorted(requests.items())]
    selector = spec.get("nodeSelector") or {}
    parts += [f"node label {key}={value}" for key, value in sorted(selector.items())]
    if (spec.get("affinity") or {}).get("nodeAffinity"):
        parts.append("a node affinity")
    return ", ".join(parts) or "nothing in particular"


# --- a pod that is there ---------------------------------------------------------------------------------------------


def _ended(job: Object | None, pod: Object, log: Sequence[str]) -> State | None:
    status = pod.get("status", {})
    terminated = _terminated(pod)
    if job is not None and _overdue(job):
        return _deadline(job)
    disruption = next(
        (c for c in status.get("conditions", ()) if c["type"] == "DisruptionTarget" and c["status"] == "True"), None
    )
    result = _result(terminated)
    if (
        result is not None
        and result.status == "succeeded"
        and terminated is not None
        and terminated.get("exitCode") == 0
    ):
        return State(phase=Phase.SUCCEEDED, result=result)
    if disruption is not None:
        code, words = _DISRUPTIONS.get(disruption.get("reason", ""), ("disrupted", "the cluster took the pod away"))
        return State(
            phase=Phase.DISRUPTED,
            code=code,
            what=_with(words, disruption.get("message")),
            todo="nothing: the next attempt is launched",
            result=result,
        )
    if status.get("reason") in {"Evicted", "NodeLost", "Shutdown", "NodeShutdown", "Preempting"}:
        code = "node-lost" if status["reason"] == "NodeLost" else "evicted"
        return State(
            phase=Phase.DISRUPTED,
            code=code,
            what=_with("the pod was evicted from its node", status.get("message")),
            todo="nothing: the next attempt is launched",
            result=result,
        )
    if terminated is None:
        if status.get("phase") == "Failed":
            what = _with("the pod failed", status.get("message") or status.get("reason"))
            return State(phase=Phase.FAILED, code="pod", what=what, todo="see the message")
        return None
    return _container_ended(pod, terminated, result, log)


def _container_ended(pod: Object, terminated: Object, result: Result | None, log: Sequence[str]) -> State:
    reason, code = terminated.get("reason", ""), terminated.get("exitCode", 0)
    deleted = bool(pod.get("metadata", {}).get("deletionTimestamp"))
    if reason == "OOMKilled":
        limit = _resources(pod).get("limits", {}).get("memory")
        bound = f"its memory limit of {limit}" if limit else "the node's memory (it has no limit of its own)"
        return State(
            phase=Phase.FAILED,
            code="oom",
            what=f"the job needed more than {bound} and was killed",
            todo="raise resources.memoryLimit in the job settings",
            result=result,
        )
    if deleted and (result is None or result.status == "stopped"):
        return State(
            phase=Phase.DISRUPTED,
            code="deleted",
            what="the pod was deleted while it ran",
            todo="nothing: the next attempt is launched",
            result=result,
        )
    if result is not None and result.error is not None:
        phase = Phase.STOPPED if result.status == "stopped" else Phase.FAILED
        error = result.error
        where = f" ({error.where})" if error.where else ""
        return State(phase=phase, code=error.code or "job", what=f"{error.what}{where}", todo=error.todo, result=result)
    if code == 0:
        return State(
            phase=Phase.FAILED,
            code="no-result",
            what="the job ended well and left no result: without one it is no success",
            todo="use an image of towpath's job",
            result=result,
        )
    if reason in {"StartError", "ContainerCannotRun"}:
        return State(
            phase=Phase.FAILED,
            code="configuration",
            what=_with("the container cannot be started", terminated.get("message")),
            todo="check image and command in the job settings",
        )
    signal = terminated.get("signal") or (code - 128 if code > 128 else 0)
    how = f"was ended by signal {signal}" if signal else f"ended with status {code}"
    words = " | ".join(line for line in log if line.strip()) or "its log is empty"
    return State(
        phase=Phase.FAILED,
        code="crash",
        what=f"the job {how} and left no result; the last lines of its log: {words}",
        todo="see the log",
        result=result,
    )


def _alive(pod: Object, events: Sequence[Object]) -> State:
    status = pod.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions", ())}
    if _running(pod):
        ready = conditions.get("Ready", {})
        if ready.get("status") != "True" and _event(events, "NodeNotReady") is not None:
            return State(
                phase=Phase.RUNNING,
                code="node-lost",
                what="the pod's node stopped answering",
                todo="nothing yet: the pod is taken off it when it stays away",
            )
        return State(phase=Phase.RUNNING)
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        what = (
            f"no node takes the pod; it asks for {asked(pod)}: {scheduled.get('message', scheduled.get('reason', ''))}"
        )
        return State(
            phase=Phase.PENDING,
            code="unschedulable",
            what=what,
            todo="make room, add a node, or ask for less in the job settings",
        )
    for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _WAITING:
            code, words, todo = _WAITING[waiting["reason"]]
            what = _with(f"{words}: {container.get('image', '')}", waiting.get("message"))
            return State(phase=Phase.PENDING, code=code, what=what, todo=todo)
    mount = _event(events, "FailedMount")
    if mount is not None:
        message = str(mount.get("message", ""))
        if _TOKEN.search(message):
            return State(
                phase=Phase.PENDING,
                code="token",
                what=f"the token's volume cannot be mounted: {message}",
                todo="check the service account and the API server's token issuing",
            )
        return State(
            phase=Phase.PENDING,
            code="volume",
            what=f"a volume cannot be mounted: {message}",
            todo="check volumes in the job settings, and that what they name exists",
        )
    sandbox = _event(events, "FailedCreatePodSandBox")
    if sandbox is not None:
        return State(
            phase=Phase.PENDING,
            code="node",
            what=_with("the node cannot start the pod", sandbox.get("message")),
            todo="see the message: it is the node's network or runtime",
        )
    return State(phase=Phase.PENDING)


# --- a Job without a pod, or one that failed -------------------------------------------------------------------------


def _not_created(events: Sequence[Object]) -> State:
    event = _event(events, "FailedCreate")
    if event is None:
        return State(phase=Phase.PENDING)
    message = str(event.get("message", ""))
    if "exceeded quota" in message:
        return State(
            phase=Phase.PENDING,
            code="quota",
            what=f"the namespace's quota is used up: {_said(message)}",
            todo="raise the ResourceQuota, wait for other pods, or ask for less",
        )
    found = re.search(
        r'serviceaccount "([^"]+)" not found|service account \S*?([^/\s]+) (?:was )?not found|serviceaccounts? "([^"]+)"',
        message,
    )
    if found is not None and "not found" in message:
        name = next(group for group in found.groups() if group)
        return State(
            phase=Phase.PENDING,
            code="service-account",
            what=f"there is no service account {name}",
            todo="create it: towpath identity apply",
        )
    return State(
        phase=Phase.PENDING,
        code="refused",
        what=f"the cluster refuses the pod: {_said(message)}",
        todo="see the message: an admission policy or a webhook said no",
    )


def _overdue(job: Object) -> bool:
    """A Job over its deadline says so first as FailureTarget, and as Failed when its pod is gone."""
    found = (_condition(job, "FailureTarget"), _condition(job, "Failed"))
    return any(condition is not None and condition.get("reason") == "DeadlineExceeded" for condition in found)


def _job_failed(job: Object, failed: Object, pod: Object | None) -> State:
    if _overdue(job):
        return _deadline(job)
    if pod is None:
        return State(
            phase=Phase.DISRUPTED,
            code="deleted",
            what="the pod is gone, and with it how it went",
            todo="nothing: the next attempt is launched",
        )
    what = _with("the Job failed", failed.get("message") or failed.get("reason"))
    return State(phase=Phase.FAILED, code="job-failed", what=what, todo="see the message")


def _deadline(job: Object | None) -> State:
    seconds = (job or {}).get("spec", {}).get("activeDeadlineSeconds", "?")
    return State(
        phase=Phase.FAILED,
        code="deadline",
        what=f"the attempt was not done within its deadline of {seconds} s",
        todo="raise deadline in the job settings, or move less at once",
    )


# --- reading API objects ---------------------------------------------------------------------------------------------


def _condition(found: Object, kind: str) -> Object | None:
    return next(
        (c for c in found.get("status", {}).get("conditions") or () if c["type"] == kind and c["status"] == "True"),
        None,
    )


def _job_container(pod: Object) -> Object:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return next((status for status in statuses if status.get("name") == CONTAINER), {})


def _terminated(pod: Object) -> Object | None:
    """The job's container, or the init container that failed."""
    found = _job_container(pod).get("state", {}).get("terminated")
    if found is not None:
        return found
    for status in pod.get("status", {}).get("initContainerStatuses") or ():
        terminated = status.get("state", {}).get("terminated")
        if terminated is not None and terminated.get("exitCode"):
            return terminated
    return None


def _running(pod: Object) -> bool:
    return "running" in (_job_container(pod).get("state") or {})


def _resources(pod: Object) -> Object:
    found = next((c for c in pod.get("spec", {}).get("containers", ()) if c.get("name") == CONTAINER), {})
    return found.get("resources", {})


def _result(terminated: Object | None) -> Result | None:
    """The termination message, when it is a result."""
    if terminated is None or not terminated.get("message"):
        return None
    try:
        return Result.model_validate_json(terminated["message"])
    except ValidationError:
        return None


def _event(events: Sequence[Object], reason: str) -> Object | None:
    return next((event for event in reversed(events) if event.get("reason") == reason), None)


def _said(message: str) -> str:
    """An API server's message without the sentence about which pod it was."""
    return re.sub(r"^.*?(?:is|are) forbidden: |^Error creating: ", "", message)


def _with(words: str, message: object) -> str:
    return f"{words}: {' '.join(str(message).split())}" if message else words
