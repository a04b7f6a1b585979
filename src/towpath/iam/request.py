"""What is asked of IAM: by whom, which action, on what, in which context."""

from __future__ import annotations

from dataclasses import dataclass, field

from towpath.iam.context import EMPTY, Context


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks. Nothing given: an anonymous caller.

    `arn` is what GetCallerIdentity would answer: a user's, an assumed-role session's, a federated user's or an account root's.
    `role_arn` is the role behind an assumed-role session: a Principal that names the role matches its sessions.
    """

    arn: str | None = None
    account: str | None = None
    federated: str | None = None  # a provider's ARN, or a name such as accounts.google.com
    service: str | None = None
    role_arn: str | None = None
    unique_id: str | None = None  # AIDA… of a user, AROA… of a role: what a Principal holds once its ARN was resolved
    canonical_user: str | None = None  # the account's canonical user id, which S3 knows

    @property
    def is_root(self) -> bool:
        return self.arn is not None and self.arn.endswith(":root")

    @property
    def is_anonymous(self) -> bool:
        return self.arn is None and self.account is None and self.federated is None and self.service is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request: action as IAM names it (`s3:GetObject`), the resource's ARN or "*", who asks, and the context."""

    action: str
    resource: str
    caller: Caller = field(default_factory=Caller)
    context: Context = EMPTY
