"""Only serves that run, of this user, count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.serve_records import running_serves, runtime_folder, start_ticks


def write_record(folder: Path, process_id: int, **changes: Any) -> None:
    record: dict[str, Any] = {
        "pid": process_id,
        "process_start_ticks": start_ticks(process_id),
        "http": "127.0.0.1:8000",
        "grpc": "127.0.0.1:8001",
        "metrics": "127.0.0.1:8002",
        "is_tls": False,
        "repository": "/models",
        "state_dir": "/run/x",
        "started_time": 100.0,
    }
    (folder / "serves").mkdir(parents=True, exist_ok=True)
    (folder / "serves" / f"{changes.get('name', process_id)}.json").write_text(json.dumps({**record, **changes}))


def test_a_record_of_a_running_process_is_a_serve(tmp_path: Path):
    write_record(tmp_path, os.getpid())
    (found,) = running_serves(tmp_path)

    assert (found.process_id, found.grpc, found.http, found.metrics) == (os.getpid(), "127.0.0.1:8001", "127.0.0.1:8000", "127.0.0.1:8002")
    assert (found.repository, found.started_time, found.is_tls) == ("/models", 100.0, False)


def test_the_newest_comes_first(tmp_path: Path):
    for number in (2.0, 3.0, 1.0):
        write_record(tmp_path, os.getpid(), started_time=number, name=number)

    assert [found.started_time for found in running_serves(tmp_path)] == [3.0, 2.0, 1.0]


def test_a_record_whose_process_id_has_another_owner_by_now_is_passed_over(tmp_path: Path):
    write_record(tmp_path, os.getpid(), process_start_ticks=1)

    assert running_serves(tmp_path) == ()


def test_a_record_of_an_ended_process_is_passed_over(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        write_record(tmp_path, child.pid)
        running = running_serves(tmp_path)
        child.communicate(b"\n")

    assert len(running) == 1
    assert running_serves(tmp_path) == ()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "x"}', '"text"'])
def test_what_is_no_record_is_passed_over(content: str, tmp_path: Path):
    write_record(tmp_path, os.getpid())
    (tmp_path / "serves" / "1.json").write_text(content)

    assert len(running_serves(tmp_path)) == 1


def test_a_linked_folder_is_not_followed(tmp_path: Path):
    write_record(tmp_path / "theirs", os.getpid())
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "serves").symlink_to(tmp_path / "theirs" / "serves")

    assert running_serves(tmp_path / "ours") == ()


def test_without_a_folder_there_is_no_serve(tmp_path: Path):
    assert running_serves(tmp_path / "nowhere") == ()


def test_the_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/5")
    named = runtime_folder()
    monkeypatch.delenv("XDG_RUNTIME_DIR")

    assert (named, runtime_folder()) == (Path("/run/user/5/penstock"), Path(f"/tmp/penstock-{os.getuid()}"))
