"""`up`, `ps`, `logs` and `down` read what a stack says of itself; here it says it from a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.serve_records import start_ticks
from tests.cli.conftest import Run


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's stacks."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "penstock"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that can stand for a supervisor."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


GONE = 4_194_999
"""Above what Linux gives to any process."""


def write_stack(folder: Path, process_id: int, **changes: Any) -> None:
    ticks = 1 if process_id == GONE else start_ticks(process_id)
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "logs").mkdir()
    entry = {
        "state": "ready", "since_time": 0.0, "address": "127.0.0.1:29092", "origin": "cache", "version": "4.1.1", "pid": 71_234,
        "process_start_ticks": 1, "lives": 2, "note": "", "log": None,
    }  # fmt: skip
    document = {
        "name": folder.name, "state": "ready", "pid": process_id, "process_start_ticks": ticks, "started_time": 0.0,
        "state_dir": str(folder), "servers": {"kafka": entry}, "news": [], **changes,
    }  # fmt: skip
    (folder / "stack.json").write_text(json.dumps(document))


def test_ps_lists_every_stack_that_runs(run: Run, stacks: Path):
    for name in ("one", "two"):
        write_stack(stacks / name, os.getpid())
    lines = run("ps").output.splitlines()

    assert lines[0].split() == ["STACK", "SERVICE", "STATE", "ADDRESS", "PROCESS", "STARTS", "FOR", "FROM", "NOTE"]
    assert [line.split()[:6] for line in lines[1:]] == [
        [name, "kafka", "ready", "127.0.0.1:29092", "71234", "2"] for name in ("one", "two")
    ]


def test_ps_gives_programs_the_record_itself(run: Run, stacks: Path):
    write_stack(stacks / "local", os.getpid())
    (found,) = json.loads(run("ps", "-o", "json").output)["stacks"]

    assert found == json.loads((stacks / "local" / "stack.json").read_text())


@pytest.mark.parametrize("changes", [{"process_start_ticks": 1}, {"pid": GONE}, {"servers": None, "pid": "?"}])
def test_a_stack_whose_process_is_gone_does_not_run(run: Run, stacks: Path, changes: dict[str, Any]):
    write_stack(stacks / "local", os.getpid(), **changes)

    assert run("ps").output == "no stack runs; penstock up starts one\n"
    ended = run("ps", "--name", "local")
    assert (ended.exit_code, "penstock up --name local" in ended.output) == (1, True)


def test_up_refuses_a_name_that_runs_already_and_says_what_to_do(run: Run, stacks: Path):
    write_stack(stacks / "local", os.getpid())
    ended = run("up")

    assert ended.exit_code == 1
    assert f"runs already, by process {os.getpid()}" in ended.output
    assert "penstock down --name local" in ended.output


def test_a_stack_in_a_folder_of_its_own_is_named_by_it(run: Run, stacks: Path, tmp_path: Path):
    write_stack(tmp_path / "mine", os.getpid())

    assert f"penstock down --state-dir {tmp_path / 'mine'}" in run("up", "--state-dir", str(tmp_path / "mine")).output.replace("\n", "")
    assert run("ps", "--state-dir", str(tmp_path / "none")).stderr.startswith("error: no stack runs in this folder\n")
    assert f"penstock up --state-dir {tmp_path / 'none'}" in run("ps", "--state-dir", str(tmp_path / "none")).output.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "kafka,mysql"), "redis, postgres, kafka, temporal"),
        (("--only", ","), "name some of"),
        (("--name", "Über/all"), "lower-case letters"),
        (("--kafka-port", "70000"), "70000"),
        (("--start-timeout", "soon"), "no duration"),
        (("--state-dir", "\udcff"), "no UTF-8 text"),
    ],
)
def test_up_refuses_what_it_cannot_mean(run: Run, stacks: Path, arguments: tuple[str, ...], words: str):
    ended = run("up", *arguments)

    assert ended.exit_code == 2
    assert words in ended.output
    assert not stacks.exists()


def test_down_asks_the_supervisor_to_end_and_waits_for_it(run: Run, stacks: Path, sleeper: subprocess.Popen[bytes]):
    write_stack(stacks / "local", sleeper.pid)
    # Until somebody waits for it, a process that ended still has its id and its start.
    threading.Thread(target=sleeper.wait, daemon=True).start()
    ended = run("down")

    assert ended.exit_code == 0
    assert sleeper.wait(30) == -15


def test_down_of_what_does_not_run_is_done(run: Run, stacks: Path):
    ended = run("down", "--name", "nobody")

    assert (ended.exit_code, ended.output) == (0, "no stack 'nobody' runs\n")


def test_down_that_waits_too_long_names_the_next_step(run: Run, stacks: Path):
    with subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE,
    ) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        write_stack(stacks / "local", deaf.pid)
        ended = run("down", "--timeout", "300ms")
        deaf.kill()

    assert ended.exit_code == 4
    assert "penstock down --kill --name local" in ended.output


def test_down_deletes_data_only_of_a_stack_and_only_when_told(run: Run, stacks: Path, tmp_path: Path):
    write_stack(stacks / "local", GONE)
    (tmp_path / "precious").mkdir()

    assert run("down", "--delete-data", stdin="n\n").exit_code == 1
    assert (stacks / "local").is_dir()
    assert run("down", "--delete-data", "--yes").exit_code == 0
    assert not (stacks / "local").exists()
    assert "is no folder of a stack" in run("down", "--delete-data", "--yes", "--state-dir", str(tmp_path / "precious")).output
    assert (tmp_path / "precious").is_dir()


def test_logs_prints_the_last_lines_of_the_services_named(run: Run, stacks: Path):
    write_stack(stacks / "local", os.getpid())
    (stacks / "local" / "logs" / "kafka.log").write_text("one\ntwo\nthree\n")
    (stacks / "local" / "logs" / "redis.log").write_text("red\n")

    assert run("logs", "kafka", "-n", "2").output == "two\nthree\n"
    assert run("logs").output == "kafka        one\nkafka        two\nkafka        three\nredis        red\n"
    assert "there are kafka, redis" in run("logs", "kafak").output


def test_logs_goes_on_when_a_log_is_put_aside(stacks: Path, tmp_path: Path):
    write_stack(stacks / "local", os.getpid())
    path = stacks / "local" / "logs" / "kafka.log"
    path.write_text("one\n")
    # Where the tests run in the background of a shell, SIGINT is ignored, and children inherit that.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from penstock.cli.main import main; main()"
    command = [sys.executable, "-c", heeds, "logs", "-f", "kafka"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as following:
        assert following.stdout is not None
        seen = [following.stdout.readline()]
        with path.open("a") as file:
            file.write("two\nha")
        seen.append(following.stdout.readline())
        with path.open("a") as file:
            file.write("lf\n")
        seen.append(following.stdout.readline())
        path.replace(path.with_suffix(".log.1"))
        path.write_text("new\n")
        seen.append(following.stdout.readline())
        following.send_signal(2)

        assert seen == ["one\n", "two\n", "half\n", "new\n"]
        assert following.wait(30) == 0


def test_a_profile_that_is_none_is_refused_with_the_list(run: Run, stacks: Path):
    ended = run("up", "--profile", "staging")

    assert ended.exit_code == 2
    assert "'staging'" in ended.output
    assert "'demo'" in ended.output
    assert not stacks.exists()


@pytest.mark.parametrize("options", [("--servers-only",), ("--only", "kafka")])
def test_a_profile_needs_the_mesh(run: Run, stacks: Path, options: tuple[str, ...]):
    ended = run("up", "--profile", "demo", *options)

    assert (ended.exit_code, "--profile demo needs the mesh" in ended.output) == (2, True)
    assert not stacks.exists()
