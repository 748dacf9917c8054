"""Runs a program to its end: a build, a format step, a question for a version."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.chassis.child import ChildProcess, ChildSpec, describe
from services.chassis.parentage import bound
from services.chassis.process import CannotStart

TAIL_LINES = 15
ASK_SECONDS = 30.0
BUILD_NICE = 10
"""A build leaves the machine to whoever works on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A program to run to its end."""

    what: str
    """In an error: "building Temporal"."""
    command: tuple[str, ...]
    log: Path
    """What it writes is added here."""
    seconds: float
    """Longest time it may take."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str | None = None
    nice: int = 0


async def finish(step: Step) -> None:
    """Run a step; it dies with this process, and is killed when the caller is cancelled.

    Raises:
        CannotStart: it failed or took too long; with the end of what it wrote.
    """
    wrote_before = step.log.stat().st_size if step.log.exists() else 0
    command = bound(step.command, user=step.user, nice=step.nice)
    life = ChildProcess(ChildSpec(name=step.what, command=command, environment=step.environment, log=step.log))
    try:
        async with asyncio.timeout(step.seconds):
            status = await life.wait()
    except TimeoutError:
        raise CannotStart(f"{step.what} took longer than {step.seconds:g} s; {step.log} ends with\n{tail(step.log)}") from None
    finally:
        life.end()
    if status != 0:
        raise CannotStart(f"{step.what} failed ({describe(status)}); {step.log} ends with\n{tail(step.log, wrote_before)}")


async def answer_of(*command: str) -> str:
    """Return what a quick program says on both streams; empty when it cannot be run."""

    def ask() -> str:
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=ASK_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return ended.stdout.decode(errors="replace")

    return await asyncio.to_thread(ask)


def tail(path: Path, after: int = 0) -> str:
    """Return the last lines of a file, indented; only of what stands behind byte `after`."""
    try:
        with path.open("rb") as file:
            file.seek(max(after, path.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "    (nothing)"
    return "\n".join(f"    {line[:200]}" for line in lines[-TAIL_LINES:]) or "    (nothing)"
