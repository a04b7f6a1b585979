"""The journal's file: what a kill may leave of it, and what is refused."""

from __future__ import annotations

import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from towpath.sandbox.errors import SandboxError
from towpath.sandbox.journal import Journal

HEADER = {"account": "1"}


def facts(path: Path) -> list[int]:
    found: list[int] = []
    with closing(Journal(path, HEADER)) as journal:
        journal.replay({"n": lambda fact: found.append(fact["n"])})
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    journal = Journal(path, HEADER)
    for number in range(3):
        journal.add("n", {"n": number})
    journal.close()
    return path


def test_it_is_its_owners_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(Journal(path, HEADER)) as journal:
        journal.restart()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_torn_at_any_byte_of_its_last_line_it_loses_that_line_alone(path: Path) -> None:
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    for length in range(last, len(whole)):
        path.write_bytes(whole[:length])
        assert facts(path) == [0, 1]
    path.write_bytes(whole)
    assert facts(path) == [0, 1, 2]


def test_what_is_written_after_a_cut_is_read(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal(path, HEADER)
    journal.add("n", {"n": 7})
    journal.close()
    assert facts(path) == [0, 1, 7]


def test_damaged_elsewhere_it_is_refused(path: Path) -> None:
    assert facts(path) == [0, 1, 2]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"n":1', b'"n":5')
    path.write_bytes(b"".join(lines))
    with pytest.raises(SandboxError, match="line 3 of the journal is damaged"):
        facts(path)


@pytest.mark.parametrize("header", [{"account": "2"}, {"account": "1", "moto": "9"}])
def test_made_under_other_settings_it_is_refused(path: Path, header: dict[str, Any]) -> None:
    with pytest.raises(SandboxError, match="another version or under other settings"):
        Journal(path, header)


@pytest.mark.parametrize("text", [b"hello\n", b"\x00" * 100 + b"\n", b"hello\nworld\n"])
def test_what_is_no_journal_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "journal").write_bytes(text)
    with pytest.raises(SandboxError):
        Journal(tmp_path / "journal", HEADER)
    assert (tmp_path / "journal").read_bytes() == text


def test_fact_of_an_unknown_kind_is_refused(path: Path) -> None:
    with closing(Journal(path, HEADER)) as journal, pytest.raises(SandboxError, match="kind 'n'"):
        journal.replay({})


def test_what_is_told_together_is_one_line_whatever_ends_it(path: Path) -> None:
    journal = Journal(path, HEADER)
    with pytest.raises(RuntimeError), journal.together(), journal.together():
        journal.add("n", {"n": 3})
        journal.add("n", {"n": 4})
        raise RuntimeError
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    assert facts(path) == [0, 1, 2, 3, 4]
    path.write_bytes(b"".join(lines)[:-3])
    assert facts(path) == [0, 1, 2]


def test_threads_lines_do_not_mix(path: Path) -> None:
    journal = Journal(path, HEADER)

    def write(start: int) -> None:
        for number in range(start, start + 100):
            with journal.together():
                journal.add("n", {"n": number})
                journal.add("n", {"n": number})

    threads = [threading.Thread(target=write, args=(1000 * each,)) for each in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    found = facts(path)[3:]
    assert found[::2] == found[1::2]
    assert len(found) == 1000


def test_rewritten_it_has_what_was_kept_and_goes_on(path: Path) -> None:
    journal = Journal(path, HEADER)
    journal.rewrite(lambda each: [fact for fact in each if fact[1]["n"] != 1])
    journal.add("n", {"n": 9})
    journal.close()
    assert facts(path) == [0, 2, 9]


def test_replay_is_not_written_again(path: Path) -> None:
    journal = Journal(path, HEADER)
    before = path.stat().st_size
    journal.replay({"n": lambda fact: journal.add("n", fact)})
    journal.close()
    assert path.stat().st_size == before
