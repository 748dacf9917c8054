"""The promises of conftest.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

GRACE_SECONDS = 3.0
"""What ends by itself has ended by then; what stays would stay for a minute."""


def run_session(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environment = {**os.environ, "PENSTOCK_TEST_GRACE_SECONDS": str(GRACE_SECONDS)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False)


LEAKS = """
import os, subprocess, sys, time

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

def test_leaves_a_child():
    subprocess.Popen(SLEEP)

def test_leaves_an_orphan():
    subprocess.run("sleep 60 >/dev/null 2>&1 </dev/null & disown", shell=True, executable="/bin/bash", start_new_session=True)

def test_leaves_a_forked_program():
    os.fork() or os.execv(sys.executable, SLEEP)

def test_leaves_a_fork():
    os.fork() or time.sleep(60)
"""


def test_a_session_that_leaves_processes_behind_fails_names_and_ends_them(tmp_path: Path):
    ended = run_session(tmp_path, LEAKS)

    assert ended.returncode == 1, ended.stdout + ended.stderr
    lines = ended.stdout.split("(killed now)")[1].splitlines()
    leaked = [int(line.split(":")[0]) for line in lines if line.split(":")[0].isdigit()]
    assert len(leaked) == 4
    assert not any(is_running(process_id) for process_id in leaked)


def test_a_session_whose_children_have_ended_passes(tmp_path: Path):
    ended = run_session(tmp_path, "import subprocess, sys\n\ndef test_ends():\n    subprocess.run([sys.executable, '-c', ''])\n")

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_free_ports_are_all_different(free_ports, free_port: int):
    assert len({free_port, *free_ports(50)}) == 51


def test_a_short_dir_holds_a_unix_socket(short_dir: Path):
    assert len(os.fsencode(short_dir / "control" / ("w" * 40 + ".sock"))) <= 107


def is_running(process_id: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return False
