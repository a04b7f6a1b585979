"""A pipeline as it is written down: one schema for the demo, an agent's `syncs.yaml` and the control plane."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from towpath.errors import UsageError

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


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
        if not BUCKET.fullmatch(self.bucket):
            raise ValueError(f"{self.bucket!r} is not a bucket's name")
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
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(
            f"cannot read the pipelines: {error.strerror}",
            where=str(path),
            todo="give the path of a YAML file with pipelines:",
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark is not None else str(path)
        raise PipelineError(
            f"this is not YAML: {getattr(error, 'problem', error)}", where=place, todo="correct the line"
        ) from None
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
        # A misspelt field is also a missing one; the misspelling is what to tell.
        first = next((item for item in error.errors() if item["type"] == "extra_forbidden"), error.errors()[0])
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        where = f"{source}, {place}" if place else source
        if first["type"] == "extra_forbidden":
            known = sorted(
                {
                    name
                    for model in (Pipeline, Source, SqliteSource, SqlSource, S3Destination)
                    for name in model.model_fields
                }
            )
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
            raise PipelineError(
                f"the field {first['loc'][-1]!r} is not known",
                where=where,
                todo=f"did you mean {near[0]}?" if near else "take it out",
            ) from None
        message = "the field is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        raise PipelineError(
            message[:1].lower() + message[1:], where=where, todo="correct it and run the same command again"
        ) from None
    names = [pipeline.name for pipeline in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PipelineError(
            f"two pipelines are called {twice[0]}",
            where=source,
            todo="give each its own name: it is where the data goes",
        )
    return found
