"""What a Job, its pod and their events mean, one case a file: API objects, and the state they have to give."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from towpath.agent.kubernetes.judge import judge

CASES = sorted((Path(__file__).parent / "states").glob("*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_state(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    wanted = case["state"]
    state = judge(case["job"], case.get("pod"), case.get("events", []), log=case.get("log", []))
    assert (str(state.phase), state.code) == (wanted["phase"], wanted.get("code", ""))
    for words in wanted.get("says", []):
        assert words in state.what
    if "todo" in wanted:
        assert state.todo == wanted["todo"]
    # Whatever is wrong comes with what to do.
    assert bool(state.what) == bool(state.code)
    assert not state.what or state.todo
