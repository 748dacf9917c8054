"""Has a version examined where it can do no harm: in a child process with an empty environment, behind walls, and for a minute at most.

The child is `services.worker.examine`, the code that loads versions on workers, so that what passes here loads there. Whatever becomes
of it, the answer is a report or a typed refusal: a crash, a time-out and a want of memory are the version's fault and say so. Which walls
stood is kept with the version; those that this machine does not have are logged.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import structlog

from penstock.contracts.artefacts import VERSION_FOLDER
from penstock.contracts.errors import Internal, InvalidInput, NotImplementedHere, error_from
from services.chassis.parentage import PARENT_VARIABLE
from services.controller.registration_values import ModelReport

PROGRAM = "services.worker.examine"
ANSWER_BYTES = 4 << 20
"""Longest answer that is read."""
STDERR_BYTES = 64 << 10

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """What the child takes from itself before it looks at the version."""

    memory_bytes: int = 4 << 30
    """Of its address space."""
    cpu_seconds: int = 60
    open_files: int = 64
    tasks: int = 256
    """Processes and threads: ONNX Runtime starts a thread for each core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """How much an examination may cost."""

    process: ProcessLimits = field(default_factory=ProcessLimits)
    trial_seconds: float = 20.0
    """Of it, for executing the model."""
    wall_seconds: float = 60.0
    """After which the child is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended."""

    status: int
    """Exit code, or minus the signal."""
    stdout: bytes
    stderr: bytes


class ModelSandbox:
    """Examines versions, a child process each."""

    def __init__(self, limits: SandboxLimits) -> None:
        """Store the arguments."""
        self._limits = limits

    async def examine(self, model: str, version: str, folder: Path) -> ModelReport:
        """Return what a version is; `folder` holds its files as its manifest names them.

        Raises:
            Conflict: the features that it names do not fit its inputs (FEATURE_SCHEMA_MISMATCH).
            InvalidInput: it is refused: BAD_MODEL, BAD_VALUE (its configuration), MODEL_TOO_HUNGRY, MODEL_TOO_SLOW, MODEL_CRASHED.
            NotImplementedHere: packages are missing here without which nothing can be examined.
        """
        order = {
            "model": model,
            "version": version,
            "model_folder": str(folder),
            "folder_name": VERSION_FOLDER,
            "trial_seconds": self._limits.trial_seconds,
            "limits": asdict(self._limits.process),
        }
        ended = await self._run(json.dumps(order).encode())
        if ended is None:
            raise _refusal("MODEL_TOO_SLOW", f"its examination did not end within {self._limits.wall_seconds:g} s")
        return _report(ended)

    async def _run(self, order: bytes) -> Ended | None:
        """Run the child; None when it had to be killed because it took too long. It is gone when this returns, however."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-B", "-m", PROGRAM,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd="/", env=_environment(), start_new_session=True, limit=STDERR_BYTES,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._limits.wall_seconds):
                return await _talked(child, order)
        except TimeoutError:
            return None
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            await child.wait()


async def _talked(child: asyncio.subprocess.Process, order: bytes) -> Ended:
    stdin, stdout, stderr = child.stdin, child.stdout, child.stderr
    if stdin is None or stdout is None or stderr is None:
        raise Internal("the examining process has no pipes")
    # uvloop says RuntimeError where the other end is closed already: what the child has said of it counts, not that it would not listen.
    with suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
        stdin.write(order)
        await stdin.drain()
    stdin.close()
    answer, errors = await asyncio.gather(_last(stdout, ANSWER_BYTES), _last(stderr, STDERR_BYTES))
    return Ended(status=await child.wait(), stdout=answer, stderr=errors)


async def _last(stream: asyncio.StreamReader, limit: int) -> bytes:
    """Return the last bytes of a stream; all of it is read, so that its writer never waits."""
    kept = bytearray()
    while chunk := await stream.read(STDERR_BYTES):
        kept += chunk
        if len(kept) > 2 * limit:
            del kept[:-limit]
    return bytes(kept[-limit:])


def _report(ended: Ended) -> ModelReport:
    """Pure but for the log: turn an end into a report.

    Raises:
        InvalidInput: the version is refused.
        NotImplementedHere: the child could not do its work.
    """
    if ended.status != 0:
        raise _death(ended)
    try:
        answer = cast("Mapping[str, Any]", json.loads(ended.stdout))
    except ValueError as error:
        raise _refusal("MODEL_CRASHED", "its examination ended without an answer") from error
    walls = {"walls": answer.get("walls", []), "missing_walls": answer.get("missing_walls", {})}
    if walls["missing_walls"]:
        log.warning("examination_walls_missing", **walls)
    if "broken" in answer:
        log.error("examination_impossible", error=answer["broken"])
        message = "versions cannot be examined here, for packages are missing: pip install 'penstock[mesh]'"
        raise NotImplementedHere(message, reason="PACKAGE_MISSING")
    if "refusal" in answer:
        raise error_from(str(answer["refusal"]["reason"]), str(answer["refusal"]["message"]))
    return _found(dict(cast("Mapping[str, Any]", answer["report"])) | walls)


def _found(report: dict[str, Any]) -> ModelReport:
    signature = {key: report.pop(key) for key in ("inputs", "outputs", "max_batch_size")}
    known = (report["model_file"], *report.pop("external_files"), *report.pop("named_files"))
    features = report.pop("features", {})
    feature_hash = report.pop("feature_hash", "")
    graph = report.pop("graph", "")
    return ModelReport(
        signature=signature,
        facts=report,
        known_files=tuple(known),
        memory_bytes=int(report["peak_memory_bytes"]),
        features=features,
        feature_hash=feature_hash,
        graph=graph,
    )


def _death(ended: Ended) -> InvalidInput:
    told = ended.stderr.decode(errors="replace")
    log.warning("examination_died", status=ended.status, stderr=told[-2000:])
    if "bad_alloc" in told or "MemoryError" in told or ended.status == -signal.SIGKILL:
        return _refusal("MODEL_TOO_HUNGRY", "it needs more memory than an examination may use")
    if ended.status in (-signal.SIGXCPU, -signal.SIGALRM):
        return _refusal("MODEL_TOO_SLOW", "it needs more processor time than an examination may use")
    how = f"signal {signal.Signals(-ended.status).name}" if ended.status < 0 else f"exit code {ended.status}"
    return _refusal("MODEL_CRASHED", f"it brought its examination down ({how})")


def _refusal(reason: str, message: str) -> InvalidInput:
    return InvalidInput(f"the version is not registered: {message}", reason=reason, field="model")


def _environment() -> dict[str, str]:
    """Return all that the child inherits: where the code is, whom to die with, and to use one thread."""
    root = str(Path(__file__).absolute().parents[2])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {"PYTHONPATH": root, "LC_ALL": "C.UTF-8", PARENT_VARIABLE: str(os.getpid()), **threads}
