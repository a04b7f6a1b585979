"""A pipeline as it is written down: one schema for the demo, an agent's `syncs.yaml` and the control plane."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from towpath import yaml_files
from towpath.errors import UsageError
from towpath.iam import arn as arns

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class PipelineError(UsageError):
    """A pipeline that cannot be meant."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SecretReference(_Model):
    """A key of a Kubernetes Secret; the value itself is never in a pipeline."""

    secret: str
    key: str


class SqliteSource(_Model):
    path: str
    tables: tuple[str, ...] | None = None  # None: all


class SqlSource(_Model):
    """A database by URL: a reference, or a plain URL that holds no password."""

    url: SecretReference | str
    tables: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _no_password(self) -> SqlSource:
        if isinstance(self.url, str) and urlsplit(self.url).password is not None:
            raise ValueError(
                "the URL holds a password; put the URL into a Secret and refer to it: url: {secret: NAME, key: url}"
            )
        return self


class Source(_Model):
    """One of sqlite and sql."""

    sqlite: SqliteSource | None = None
    sql: SqlSource | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(cast("dict[str, Any]", value).get("sqlite"), str):
            return {**cast("dict[str, Any]", value), "sqlite": {"path": value["sqlite"]}}
        return value

    @model_validator(mode="after")
    def _one(self) -> Source:
        if (self.sqlite is None) == (self.sql is None):
            raise ValueError("a source is one of sqlite and sql")
        return self


class S3Destination(_Model):
    bucket: str
    prefix: str = ""
    format: Literal["parquet"] = "parquet"

    @model_validator(mode="after")
    def _valid(self) -> S3Destination:
        if not arns.BUCKET_NAME.fullmatch(self.bucket):
            raise ValueError(f"{self.bucket!r} is not a bucket's name: 3 to 63 lower-case letters, digits, '-' and '.'")
        if self.prefix.startswith("/"):
            raise ValueError("a prefix does not begin with a slash")
        return self


class Destination(_Model):
    s3: S3Destination


class Pipeline(_Model):
    """A source, a destination, a mode, the identity it runs under, and when."""

    name: str
    identity: str = "hd-job-sa"
    source: Source
    destination: Destination
    mode: Literal["full", "append", "merge"] = "full"
    schedule: str | None = None

    @model_validator(mode="after")
    def _named(self) -> Pipeline:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a name: lower-case letters, digits and '-', at most 63")
        return self


class Pipelines(_Model):
    pipelines: tuple[Pipeline, ...] = Field(min_length=1)


def load_pipelines(path: Path) -> tuple[Pipeline, ...]:
    """The pipelines of a YAML file. Raises PipelineError with the field's path, and the nearest known field for an unknown one."""
    value = yaml_files.read(
        path, noun="pipelines' file", todo="give the path of a YAML file with pipelines:", of=PipelineError
    )
    return parse_pipelines(value, source=str(path))


def parse_pipelines(value: object, *, source: str) -> tuple[Pipeline, ...]:
    """The same from a value that was read already."""
    if not isinstance(value, Mapping):
        raise PipelineError(
            "this is not an object with pipelines:", where=source, todo="see docs/pipelines.md for an example"
        )
    try:
        found = Pipelines.model_validate(value).pipelines
    except ValidationError as error:
        raise yaml_files.refusal(error, source=source, known=_fields, of=PipelineError) from None
    names = [pipeline.name for pipeline in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PipelineError(
            f"two pipelines are called {twice[0]}",
            where=source,
            todo="give each its own name: it is where the data goes",
        )
    return found


def _fields(location: tuple[int | str, ...]) -> list[str]:
    """The fields known at a place of the file."""
    models: dict[str, type[BaseModel]] = {
        "pipelines": Pipeline,
        "source": Source,
        "sqlite": SqliteSource,
        "sql": SqlSource,
        "url": SecretReference,
        "destination": Destination,
        "s3": S3Destination,
    }
    names = [part for part in location if isinstance(part, str) and part in models]
    return list((models[names[-1]] if names else Pipelines).model_fields)
