"""The walls around an examination, tried from inside: what stands holds, and what a machine does not have is named."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from services.worker.walls import FALLBACK_USER, FIRST_USER
from tests.worker import models

pytestmark = pytest.mark.timeout(120)

CODE = Path(__file__).absolute().parents[2]
ALL = {"limits", "own_namespaces", "own_view", "own_user", "own_task_limit", "landlock", "system_calls", "no_new_privileges"}
TASKS = 12
PLAIN_USER = 64_999

LESS = """
import errno, json, os, resource, socket, sys, threading, time
from pathlib import Path
from services.worker import system_calls, walls
from services.worker.system_call_filter import refuse_calls
given = json.loads(sys.argv[1])
walls.visible_paths(Path("/lib"))  # what it imports, another user may not be able to
if given["without"]:
    refuse_calls(given["without"], errno.ENOSYS)
if given["user"]:
    os.setgroups(())
    os.setresgid(given["user"], given["user"], given["user"])
    os.setresuid(given["user"], given["user"], given["user"])
"""

PROBE = (
    LESS
    + """
limits = {"memory_bytes": 1 << 30, "cpu_seconds": 7, "open_files": 20, "tasks": given["tasks"]}
stood = walls.raise_walls(Path(given["folder"]), limits)
folder, outside, parent = given["folder"], given["outside"], os.getppid()

def works(attempt):
    try:
        attempt()
    except (OSError, MemoryError, RuntimeError):
        return False
    return True

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

def threads():
    end, begun = threading.Event(), []
    for _ in range(given["tasks"] + 20):
        one = threading.Thread(target=end.wait)
        if not works(one.start):
            break
        begun.append(one)
    end.set()
    for one in begun:
        one.join()
    return len(begun)

found = {
    "reads_model": works(lambda: Path(folder, "model.onnx").read_bytes()),
    "lists_model": works(lambda: os.listdir(folder)),
    "reads_outside": works(lambda: Path(outside).read_bytes()),
    "reads_accounts": works(lambda: Path("/etc/passwd").read_bytes()),
    "writes": works(lambda: os.close(os.open(folder + "/new", os.O_WRONLY | os.O_CREAT))),
    "opens_for_writing": works(lambda: os.close(os.open(folder + "/model.onnx", os.O_WRONLY))),
    "removes": works(lambda: os.unlink(folder + "/spare")),
    "changes_modes": works(lambda: os.chmod(folder + "/model.onnx", 0o777)),
    "grows_files": works(lambda: os.write(given["descriptor"], b"x")),
    "connects": works(lambda: socket.socket(socket.AF_INET).connect(("127.0.0.1", given["port"]))),
    "has_local_sockets": works(lambda: socket.socket(socket.AF_UNIX).close()),
    "signals_parent": works(lambda: os.kill(parent, 0)),
    "forks": works(fork),
    "executes": works(lambda: os.posix_spawn("/bin/true", ["true"], {})),
    "takes_memory": works(lambda: bytearray(2 << 30)),
    "becomes_root": works(lambda: os.setuid(0)),
    "goes_apart_again": works(lambda: system_calls.unshare(0x10000000)),
    "raises_priority": works(lambda: os.nice(-5)),
    "threads": threads(),
    "files": sum(works(lambda: os.open(folder, os.O_RDONLY)) for _ in range(40)),
    "users": list(os.getresuid()),
    "limits": {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in ("AS", "CPU", "NOFILE", "FSIZE", "CORE", "NPROC")},
}
print(json.dumps({"walls": stood.standing, "missing": stood.missing, **found}), flush=True)
sys.stdin.read()
"""
)


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder below which every user may go: pytest's own is closed to others."""
    with TemporaryDirectory(prefix="walls-", ignore_cleanup_errors=True) as root:
        model = Path(root, "inner", "model")
        model.mkdir(parents=True)
        for above in (Path(root), model.parent):
            above.chmod(0o755)
        for path in (model / "model.onnx", model / "spare", Path(root, "outside")):
            path.write_bytes(models.identity())
            path.chmod(0o600)
        model.chmod(0o700)
        yield model


def probed(folder: Path, port: int, *, user: int | None = None, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Try all from inside; `status` is what the kernel says of the process, read from outside."""
    outside = folder.parents[1] / "outside"
    descriptor = os.open(outside, os.O_WRONLY | os.O_APPEND)
    given = {"folder": str(folder), "outside": str(outside), "port": port, "tasks": TASKS, "descriptor": descriptor, "user": user}
    command = [sys.executable, "-P", "-B", "-c", PROBE, json.dumps(given | {"without": without})]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env={"PYTHONPATH": str(CODE)}, pass_fds=(descriptor,)
    ) as child:
        os.close(descriptor)
        assert child.stdin is not None
        assert child.stdout is not None
        line = child.stdout.readline()
        status = Path(f"/proc/{child.pid}/status").read_text() if line else ""
        child.stdin.close()
    return json.loads(line) | {"status": dict(one.split(":", 1) for one in status.splitlines()), "pid": child.pid}


def holds(found: dict[str, Any]) -> None:
    """Every wall is named as one that stands or one that is missing, and each that stands keeps in what it is there for."""
    walls, status = set(found["walls"]), found["status"]
    assert walls | set(found["missing"]) == ALL
    assert not walls & set(found["missing"])
    assert all(found["missing"].values())
    limits = {name: hard for name, (soft, hard) in found["limits"].items() if soft == hard}
    assert limits | {"NPROC": 0} == {"AS": 1 << 30, "CPU": 7, "NOFILE": 20, "FSIZE": 0, "CORE": 0, "NPROC": 0}
    assert found["files"] < 20
    assert status["NoNewPrivs"].split() == ["1"]
    # Without the filter a user namespace is to be had, and in it powers over nothing but itself.
    assert found["goes_apart_again"] or int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    for capability in ("grows_files", "takes_memory", "becomes_root", "raises_priority"):
        assert not found[capability] or (capability == "becomes_root" and found["users"][0] == 0), capability
    refused_by = {
        "reads_outside": {"own_view", "landlock"},
        "reads_accounts": {"own_view", "landlock"},
        "writes": {"own_view", "landlock", "system_calls"},
        "opens_for_writing": {"own_view", "landlock", "system_calls"},
        "removes": {"own_view", "landlock", "system_calls"},
        "changes_modes": {"own_view", "system_calls"},
        "connects": {"own_namespaces", "system_calls"},
        "has_local_sockets": {"system_calls"},
        "signals_parent": {"own_user", "system_calls"},
        "forks": {"system_calls"},
        "executes": {"system_calls", "landlock"},
        "goes_apart_again": {"system_calls"},
    }
    let_through = {attempt: walls & means for attempt, means in refused_by.items() if found[attempt] and walls & means}
    assert let_through == {}
    if "own_task_limit" in walls:
        assert found["threads"] == TASKS - 1
        assert found["limits"]["NPROC"] == [TASKS, TASKS]
    if "own_user" in walls:
        assert set(found["users"]) <= {FIRST_USER + found["pid"], FALLBACK_USER}
        assert status["Groups"].split() == []
    if "system_calls" in walls:
        assert status["Seccomp"].split() == ["2"]


def test_every_wall_that_stands_holds_and_the_model_can_be_read(folder: Path, port: int):
    found = probed(folder, port)

    holds(found)
    assert found["reads_model"]
    assert found["lists_model"]
    assert {"limits", "no_new_privileges"} <= set(found["walls"])


@pytest.mark.parametrize(
    ("without", "missing"),
    [
        (("unshare",), {"own_namespaces", "own_view"}),
        (("open_tree",), {"own_view"}),
        (("landlock_create_ruleset",), {"landlock"}),
        (("seccomp",), {"system_calls"}),
        (("setresuid",), {"own_user"}),
        (
            ("unshare", "landlock_create_ruleset", "seccomp", "setresuid"),
            {"own_namespaces", "own_view", "landlock", "system_calls", "own_user"},
        ),
    ],
    ids=["namespaces", "mounts", "landlock", "seccomp", "users", "all of them"],
)
def test_a_kernel_without_a_means_has_it_said_and_the_others_hold(folder: Path, port: int, without: tuple[str, ...], missing: set[str]):
    found = probed(folder, port, without=without)

    holds(found)
    assert missing <= set(found["missing"])
    assert found["reads_model"]


def test_a_plain_user_says_that_it_has_no_other_and_the_others_hold(folder: Path, port: int):
    is_root = os.geteuid() == 0
    for path in (folder, *folder.iterdir(), folder.parents[1] / "outside") if is_root else ():
        os.chown(path, PLAIN_USER, PLAIN_USER)

    found = probed(folder, port, user=PLAIN_USER if is_root else None)

    holds(found)
    assert "not root" in found["missing"]["own_user"]
    assert found["reads_model"]


def test_the_folder_stays_its_owners_and_nobody_else_may_read_it(folder: Path, port: int):
    probed(folder, port)

    for path in (folder, folder / "model.onnx"):
        assert path.stat().st_uid == os.geteuid()
        assert path.stat().st_mode & 0o027 == 0


EXAMINATION = LESS + "from services.worker.examine import main; main()"


@pytest.mark.parametrize("without", [("unshare",), ("landlock_create_ruleset",), ("unshare", "landlock_create_ruleset", "seccomp")])
def test_an_examination_on_a_kernel_without_a_means_is_one_and_says_which_walls_stood(folder: Path, without: tuple[str, ...]):
    version = folder / "version"
    version.mkdir()
    (folder / "model.onnx").rename(version / "model.onnx")
    (folder / "spare").unlink()
    order = {
        "model": "churn", "version": "1", "model_folder": str(folder), "folder_name": "version", "trial_seconds": 20,
        "limits": {"memory_bytes": 2 << 30, "cpu_seconds": 30, "open_files": 64, "tasks": 256},
    }  # fmt: skip

    ended = subprocess.run(
        [sys.executable, "-P", "-B", "-c", EXAMINATION, json.dumps({"without": without, "user": None})],
        input=json.dumps(order), capture_output=True, text=True, check=True, timeout=100, cwd="/", env={"PYTHONPATH": str(CODE)},
    )  # fmt: skip

    answer = json.loads(ended.stdout)
    assert answer["report"]["inputs"]
    assert set(answer["walls"]) | set(answer["missing_walls"]) == ALL
    assert len(answer["missing_walls"]) >= len(without)
