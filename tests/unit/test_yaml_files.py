"""A file that a person wrote: each mistake in its words and at its place, the same for manifest, pipelines and job settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from towpath.agent.kubernetes.settings import load_settings
from towpath.errors import UsageError
from towpath.identity.manifest import load_manifest
from towpath.job.pipeline import load_pipelines

LOADERS = {"manifest": load_manifest, "pipelines' file": load_pipelines, "job settings' file": load_settings}
IDENTITY = "cluster: {eks: a, region: eu-west-1}\nidentities: [{role: {name: r}%s}]\n"
PIPELINE = "pipelines: [{name: a, source: {sqlite: x}, destination: {s3: {bucket: lake}}%s}]\n"


@pytest.mark.parametrize(("noun", "load"), LOADERS.items())
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"a: " + b"[" * 20_000, "is nested too deeply"),
        (b"a: [1,\nb: {", "is not YAML"),
        (b"a: *b\n", "is not YAML: found undefined alias 'b'"),
        (b"a: !!python/object:os.system x\n", "is not YAML: could not determine a constructor"),
    ],
)
def test_no_yaml(noun: str, load: Callable[[Path], object], content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        load(path)
    assert refused.value.what.startswith(f"the {noun} {says}")
    assert str(path) in refused.value.where
    assert refused.value.todo


@pytest.mark.parametrize(("noun", "load"), LOADERS.items())
def test_no_file(noun: str, load: Callable[[Path], object], tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "nothing.yaml", "No such file or directory")):
        with pytest.raises(UsageError, match=f"cannot read the {noun}: {reason}"):
            load(path)


@pytest.mark.parametrize(
    ("load", "text", "what", "where"),
    [
        (load_manifest, "cluster: {eks: a, region: eu-west-1}\nidentities: 5\n", "5 is not a list", "identities"),
        (load_manifest, "cluster: 7\nidentities: []\n", "7 is not an object with fields", "cluster"),
        (load_manifest, "cluster: {eks: a, region: eu-west-1}\nidentities: []\n", "the list is empty", "identities"),
        (load_manifest, "cluster: {eks: a, region: moon}\nidentities: [{role: {name: r}}]\n", "'moon' is not a region's code", "cluster.region"),
        (load_manifest, IDENTITY.replace("name: r", "name: 5") % "", "5 is not text; put it into quotes", "identities[0].role.name"),
        (load_manifest, IDENTITY.replace("name: r", "name: r, maxSession: 15m") % "", "a role's sessions last 1h to 12h", "identities[0].role.maxSession"),
        (load_manifest, IDENTITY % ", tokenExpiration: 25h", "a token lasts 10m to 24h", "identities[0].tokenExpiration"),
        (load_manifest, IDENTITY % ", wildcard: perhaps", "'perhaps' is neither true nor false", "identities[0].wildcard"),
        (load_manifest, IDENTITY % ", permissions: [{s3: {bucket: BAD_Bucket}}]", "'BAD_Bucket' is no bucket", "identities[0].permissions[0].s3.bucket"),
        (load_manifest, IDENTITY % ", permissions: [{s3: {bucket: lake, access: all}}]", "'all' is no access", "identities[0].permissions[0].s3.access"),
        (load_manifest, IDENTITY % ", permissions: [{arn: x}]", "'x' is not an ARN", "identities[0].permissions[0]"),
        (load_pipelines, PIPELINE % ", mode: replace", "'replace' is not one of 'full', 'append', 'merge'", "pipelines[0].mode"),
        (load_pipelines, PIPELINE.replace("lake", "B") % "", "'B' is not a bucket's name", "pipelines[0].destination.s3"),
        (load_pipelines, "pipelines: []\n", "the list is empty", "pipelines"),
        (load_settings, "deadline: 0\n", "0 is less than 1, the least it may be", "deadline"),
        (load_settings, "tokenExpiration: 90000\n", "90000 is more than 86400, the most it may be", "tokenExpiration"),
        (load_settings, "runAsUser: somebody\n", "'somebody' is not a whole number", "runAsUser"),
        (load_settings, "resources: {memory: [1]}\n", "a list is not text", "resources.memory"),
        (load_settings, "resources: {memry: 1Gi}\n", "the field 'memry' is not known", "resources.memry"),
    ],
)  # fmt: skip
def test_mistakes(load: Callable[[Path], object], text: str, what: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        load(path)
    assert refused.value.what.startswith(what)
    assert refused.value.where.endswith(where)


def test_the_same_right(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(
        IDENTITY.replace("name: r", "name: r, maxSession: 1h")
        % ", tokenExpiration: 24h, wildcard: true, permissions: [{s3: {bucket: lake}}]"
    )
    assert load_manifest(path)[0].max_session == 3600
    path.write_text(PIPELINE % ", mode: full")
    assert load_pipelines(path)[0].name == "a"
    path.write_text("deadline: 1\ntokenExpiration: 86400\nrunAsUser: 7\nresources: {memory: 1Gi}\n")
    assert load_settings(path).deadline == 1
    path.write_text("")
    assert load_settings(path).keep == 86_400
