"""What is pinned is what docs/clients.md says was run, and no list names a place to fetch from."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

import pytest

from .conftest import HERE

TABLE = (HERE.parents[1] / "docs" / "clients.md").read_text()


def rows() -> dict[str, str]:
    """Client: version, as the document's table has them."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("| ")
    ]
    return {row[0]: row[1] for row in cells if len(row) == 6}


def test_versions_are_those_that_were_run() -> None:
    pinned = dict(
        line.split("==") for line in (HERE / "python" / "requirements.in").read_text().split() if "==" in line
    )
    node = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
    modules = re.search(r"service/s3 v(\S+)", (HERE / "go" / "go.mod").read_text())
    bom = re.search(r"<version>(2\.[^<]+)<", (HERE / "java" / "pom.xml").read_text())
    assert modules is not None
    assert bom is not None
    wanted = {
        "boto3": version("boto3"),
        "aws CLI 1": version("awscli"),
        "s3fs": version("s3fs"),
        "pyarrow.fs": version("pyarrow"),
        "AWS SDK for JavaScript": node["@aws-sdk/client-s3"],
        "AWS SDK for Go 2": f"s3 {modules[1]}",
        "AWS SDK for Java 2": bom[1],
        "DuckDB, aws and httpfs": pinned["duckdb"],
        **{name: pinned[name] for name in ("obstore", "polars", "deltalake")},
    }
    assert {name: rows()[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "name", ["python/requirements.in", "python/requirements.lock", "node/package-lock.json", "go/go.mod", "go/go.sum"]
)
def test_no_list_names_a_place_to_fetch_from(name: str) -> None:
    text = (HERE / name).read_text()
    assert text
    assert '"resolved"' not in text
    assert "index-url" not in text
    # Node's lists carry funding links; none is a registry's.
    assert not re.search(r"https?://[^\"\s]*(registry|npm|pypi|proxy|mirror)", text)


def test_every_locked_file_is_pinned_by_its_hash() -> None:
    packages = json.loads((HERE / "node" / "package-lock.json").read_text())["packages"]
    assert len(packages) > 10
    assert all(found.get("integrity") for name, found in packages.items() if name)
    lock = (HERE / "python" / "requirements.lock").read_text()
    names = re.findall(r"^[a-z0-9.-]+==\S+", lock, re.MULTILINE)
    assert len(names) >= 6
    assert all(re.search(rf"^{re.escape(name)}.*?(\\\n.*?--hash=sha256:)", lock, re.MULTILINE) for name in names)
