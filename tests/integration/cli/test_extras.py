"""A command whose extra is not installed says which one to install, as a process with that module hidden."""

from __future__ import annotations

import subprocess
import sys

import pytest

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
sys.argv = ["towpath", *{arguments!r}]
from towpath.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("duckdb", ["demo"], "demo"),
        ("moto", ["sandbox"], "sandbox"),
        ("cryptography", ["sandbox", "run", "--", "true"], "sandbox"),
    ],
)
def test_missing_extra(module: str, arguments: list[str], extra: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDE.format(module=module, arguments=arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert f"needs towpath's {extra} extra" in done.stderr
    assert f"pip install 'towpath[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
