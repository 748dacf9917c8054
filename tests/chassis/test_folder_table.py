"""Values that several processes change."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.folder_table import FolderTable

COUNTING = """
import sys
from pathlib import Path
from services.chassis.folder_table import FolderTable
table = FolderTable(Path(sys.argv[1]), lambda n: str(n).encode(), int, lock_seconds=20)
for _ in range(100):
    table.update("count", lambda n: (n or 0) + 1)
"""


def counts(folder: Path, lock_seconds: float = 5.0) -> FolderTable[int]:
    return FolderTable(folder, lambda n: str(n).encode(), int, lock_seconds=lock_seconds)


def test_no_change_of_concurrent_processes_is_lost(tmp_path: Path):
    processes = [subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path)]) for _ in range(3)]

    assert [process.wait(40) for process in processes] == [0, 0, 0]
    assert counts(tmp_path).read("count") == 300


def test_a_missing_key_is_none_and_none_removes_it(tmp_path: Path):
    table = counts(tmp_path / "new")

    assert table.read("count") is None
    assert table.update("count", lambda n: 7 if n is None else 0) == 7
    assert table.update("count", lambda _: None) is None
    assert table.read("count") is None


def test_a_holder_that_does_not_let_go_is_waited_for_only_so_long(tmp_path: Path):
    with (tmp_path / ".lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)

        with pytest.raises(TimeoutError, match="another process"):
            counts(tmp_path, lock_seconds=0.05).update("count", lambda _: 1)
