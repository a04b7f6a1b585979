"""What an attempt is given to run: one JSON document, with references and never with secrets."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from towpath.job.pipeline import Pipeline


class AttemptSpec(BaseModel):
    """One try of a sync. The job reads it from the file that TOWPATH_ATTEMPT names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pipeline: Pipeline
    sync: str  # the sync's id
    attempt: int = 1  # from 1
    role_arn: str  # the role this attempt has to find itself under
    region: str
    audience: str | None = None  # of the token; None: what the region's STS takes
    endpoint_url: str | None = None  # AWS_ENDPOINT_URL, when the operator set it
    ca_bundle: str | None = None  # AWS_CA_BUNDLE, when the operator set it
    source_url_variable: str | None = None  # the environment variable that holds the source's URL, filled from a Secret
