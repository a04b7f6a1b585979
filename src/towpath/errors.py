"""The one tree of errors. Each says what happened, where, and what to do; the CLI prints exactly that.

TowpathError
├── UsageError                    exit status 2: the caller's words or files are wrong
│   ├── ArnError                  iam/arn.py
│   ├── PolicyError               iam/policy.py
│   ├── ManifestError             identity/manifest.py
│   ├── PipelineError             job/pipeline.py
│   └── Refused                   agent/kubernetes/cluster.py
└── WorldError                    exit status 1: the words were right, the world was not
    ├── MissingPermissionError    an AWS or Kubernetes call of ours was refused; names the action
    ├── TokenError                oidc/errors.py
    ├── IssuerUnreachable         oidc/errors.py
    ├── ApiRefusal                kubernetes/connection.py: the API server does not do it
    ├── ClusterUnreachable        kubernetes/connection.py: the same call may go through later
    ├── GuardRefusal              job/guard.py
    └── SandboxError              sandbox/errors.py
"""

from __future__ import annotations

from typing import ClassVar


class TowpathError(Exception):
    """Something a person must act on. Subclasses add fields, never a second way of printing.

    `what` happened, one sentence without a full stop; `where`: a file, a field's path, an ARN, a URL, or "" when the
    place is in `what`; `todo`: the next step for the person, as an imperative sentence or a command.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.todo = todo

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class UsageError(TowpathError):
    """The command, a flag or a file given is wrong; nothing was tried."""

    exit_status: ClassVar[int] = 2


class WorldError(TowpathError):
    """The request was understood, but AWS, Kubernetes, the network or the file system said no."""


class MissingPermissionError(WorldError):
    """One of towpath's own calls was refused.

    `action` is the IAM action (`iam:GetRole`) or the Kubernetes verb and resource (`patch serviceaccounts`).
    """

    def __init__(self, action: str, *, where: str, detail: str = "") -> None:
        super().__init__(
            f"not allowed to call {action}" + (f" ({detail})" if detail else ""),
            where=where,
            todo=f"allow {action} to the credentials towpath runs with, then run the same command again",
        )
        self.action = action
