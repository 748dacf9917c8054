"""The sandbox: whatever a version does to its examination, the answer is a report or a typed refusal, and nobody is left behind."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from services.controller.model_sandbox import Ended, ModelSandbox, ProcessLimits, SandboxLimits, _environment, _report
from tests.controller import graphs
from tests.controller.registering import GOOD, kit, tar
from tests.worker import models

LIMITS = SandboxLimits(process=ProcessLimits(memory_bytes=2 << 30, cpu_seconds=30), trial_seconds=1.0, wall_seconds=40.0)


def children() -> list[str]:
    """Name the examining children, dead ones that nobody has waited for included; the session may have servers of its own."""
    names = [name for folder in Path("/proc/self/task").glob("*/children") for name in folder.read_text().split()]
    return [name for name in names if not (command := command_of(name)) or b"services.worker.examine" in command]


def command_of(process_id: str) -> bytes:
    try:
        return Path("/proc", process_id, "cmdline").read_bytes()
    except FileNotFoundError:
        return b"gone"


def staged(root: Path, onnx: bytes, **beside: bytes) -> Path:
    folder = root / "version"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(onnx)
    for name, content in beside.items():
        (root / name.replace("__", ".")).write_bytes(content)
    return root


async def test_a_good_version_is_examined_alone_and_its_report_says_which_walls_stood(tmp_path: Path):
    report = await ModelSandbox(LIMITS).examine("churn", "1", staged(tmp_path, models.identity()))

    assert report.known_files == ("version/model.onnx",)
    walls, missing = report.facts["walls"], report.facts["missing_walls"]
    assert isinstance(walls, list)
    assert isinstance(missing, dict)
    assert {"limits", "no_new_privileges"} <= set(walls)
    assert len(walls) + len(missing) == 8
    assert 1 << 20 < report.memory_bytes < 1 << 29
    assert children() == []


async def test_the_memory_of_whoever_asks_is_none_of_the_versions(tmp_path: Path):
    ballast = bytearray(1 << 30)
    ballast[:: resource.getpagesize()] = bytes(len(ballast) // resource.getpagesize())
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report = await ModelSandbox(LIMITS).examine("churn", "1", staged(tmp_path, models.identity()))

    assert resident > len(ballast)
    assert 1 << 20 < report.memory_bytes < len(ballast) // 2


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile", "Range"])
async def test_a_model_of_a_few_bytes_that_wants_16_gib_is_too_hungry(tmp_path: Path, operator: str):
    """IU35."""
    async with kit(tmp_path, examiner=ModelSandbox(LIMITS)) as here:
        with pytest.raises(InvalidInput) as caught:
            await here.register(here.archive(tar({"model.onnx": graphs.hungry(operator)})))
        assert caught.value.reason == "MODEL_TOO_HUNGRY"
        assert await here.leftovers() == []


async def test_a_loop_without_end_is_too_slow_and_the_next_version_is_registered(tmp_path: Path):
    """IU36."""
    async with kit(tmp_path, examiner=ModelSandbox(LIMITS)) as here:
        with pytest.raises(InvalidInput) as caught:
            await here.register(here.archive(tar({"model.onnx": models.looping()})))
        assert caught.value.reason == "MODEL_TOO_SLOW"
        assert await here.leftovers() == []
        await here.register(here.archive(tar(GOOD)))


async def test_an_examination_beyond_its_wall_time_is_killed_and_waited_for(tmp_path: Path):
    sandbox = ModelSandbox(SandboxLimits(wall_seconds=0.05))
    began = time.monotonic()

    with pytest.raises(InvalidInput) as caught:
        await sandbox.examine("churn", "1", staged(tmp_path, models.identity()))

    assert caught.value.reason == "MODEL_TOO_SLOW"
    assert time.monotonic() - began < 20
    assert children() == []


async def test_a_cancelled_caller_leaves_no_child(tmp_path: Path):
    asked = asyncio.ensure_future(ModelSandbox(LIMITS).examine("churn", "1", staged(tmp_path, models.identity())))
    while not children():
        await asyncio.sleep(0.001)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked

    assert children() == []


async def test_too_little_memory_even_for_the_packages_is_said_so(tmp_path: Path):
    limits = SandboxLimits(process=ProcessLimits(memory_bytes=64 << 20))
    with pytest.raises((InvalidInput, NotImplementedHere)) as caught:
        await ModelSandbox(limits).examine("churn", "1", staged(tmp_path, models.identity()))

    assert caught.value.reason in {"MODEL_TOO_HUNGRY", "MODEL_CRASHED", "PACKAGE_MISSING"}
    assert children() == []


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (Ended(status=-11, stdout=b"", stderr=b""), "MODEL_CRASHED"),
        (Ended(status=-6, stdout=b"", stderr=b"terminate called after throwing 'std::bad_alloc'"), "MODEL_TOO_HUNGRY"),
        (Ended(status=-6, stdout=b"", stderr=b"double free"), "MODEL_CRASHED"),
        (Ended(status=-9, stdout=b"", stderr=b""), "MODEL_TOO_HUNGRY"),
        (Ended(status=-24, stdout=b"", stderr=b""), "MODEL_TOO_SLOW"),
        (Ended(status=1, stdout=b"", stderr=b"Traceback\nMemoryError"), "MODEL_TOO_HUNGRY"),
        (Ended(status=1, stdout=b"", stderr=b"Traceback"), "MODEL_CRASHED"),
        (Ended(status=0, stdout=b"", stderr=b""), "MODEL_CRASHED"),
        (Ended(status=0, stdout=b"{", stderr=b""), "MODEL_CRASHED"),
    ],
)
def test_every_death_has_a_name(ended: Ended, reason: str):
    with pytest.raises(InvalidInput) as caught:
        _report(ended)

    assert caught.value.reason == reason


SMALLEST = {
    "inputs": [], "outputs": [], "max_batch_size": 0, "model_file": "version/model.onnx", "external_files": [], "named_files": [],
    "peak_memory_bytes": 1,
}  # fmt: skip


def test_missing_packages_are_no_fault_of_the_version():
    with pytest.raises(NotImplementedHere) as caught:
        _report(Ended(status=0, stdout=b'{"broken": "ImportError: onnx"}', stderr=b""))

    assert caught.value.reason == "PACKAGE_MISSING"


async def test_walls_that_this_machine_does_not_have_are_logged_and_kept_with_the_version():
    answer = {"report": SMALLEST, "walls": ["limits"], "missing_walls": {"landlock": "Function not implemented"}}
    with structlog.testing.capture_logs() as logs:
        report = _report(Ended(status=0, stdout=json.dumps(answer).encode(), stderr=b""))

    assert report.facts["walls"] == ["limits"]
    assert report.facts["missing_walls"] == {"landlock": "Function not implemented"}
    assert [(one["event"], one["missing_walls"]) for one in logs] == [("examination_walls_missing", answer["missing_walls"])]


def test_the_child_inherits_nothing_but_what_it_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")

    assert set(_environment()) == {
        "PYTHONPATH", "LC_ALL", "PENSTOCK_PARENT_PID", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    }  # fmt: skip


CHILDREN = """
import asyncio, os
import services.chassis
import grpc, grpc.aio, uvloop

async def main():
    async def echo(payload, _):
        return payload
    server = grpc.aio.server()
    server.add_registered_method_handlers("t.T", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    call = grpc.aio.insecure_channel(f"127.0.0.1:{port}").unary_unary("/t.T/Echo")
    async def calling():
        while True:
            await call(b"x")
    tasks = [asyncio.create_task(calling()) for _ in range(4)]
    ends = [await (await asyncio.create_subprocess_exec("/bin/true", start_new_session=True)).wait() for _ in range(60)]
    print(len(tasks), [end for end in ends if end])
    os._exit(0)

asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
"""


def test_children_of_a_process_that_serves_grpc_do_not_crash_before_they_begin():
    ended = subprocess.run([sys.executable, "-c", CHILDREN], capture_output=True, text=True, check=True, timeout=50)

    assert ended.stdout == "4 []\n"
