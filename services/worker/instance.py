"""An instance of a deployment: one session and the thread that runs it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

import structlog

from penstock.contracts.errors import Internal
from services.worker.execution import Execution, Outcome
from services.worker.running import RunMode, RunningBatch
from services.worker.work import Batch

log = structlog.get_logger(__name__)

Done = Callable[["Instance", RunningBatch, Outcome], None]


def nothing() -> None:
    """Do nothing."""


def unnoticed(_batch: Batch) -> None:
    """Do nothing about a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHooks:
    """What is called around every execution, in the thread that executes; must be quick."""

    on_batch: Callable[[Batch], None] = unnoticed
    """Called before `on_enter` with what is about to be executed."""
    on_enter: Callable[[], None] = nothing
    on_leave: Callable[[], None] = nothing


class Instance:
    """Runs batches one after the other, in its own thread or, for cheap ones, where it is asked to."""

    def __init__(self, execution: Execution, hooks: InstanceHooks, *, name: str) -> None:
        self.execution = execution
        self._hooks = hooks
        self._jobs: SimpleQueue[RunningBatch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._name = name

    def start(self, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        """Start the thread; `done` is called on the loop after each batch."""
        self._thread = threading.Thread(target=self._work, args=(loop, done), name=f"instance-{self._name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end after the batch it runs."""
        self._jobs.put(None)

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread; return whether it has ended."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        return self._thread is None or not self._thread.is_alive()

    def run(self, running: RunningBatch) -> None:
        """Run a batch in the thread."""
        self._jobs.put(running)

    def attempt(self, running: RunningBatch) -> Outcome:
        """Run a batch here, once; raises as `Execution.attempt` does."""
        self._hooks.on_batch(running.batch)
        self._hooks.on_enter()
        try:
            return self.execution.attempt(running.batch, running.handle)
        finally:
            self._hooks.on_leave()

    def _work(self, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        while (running := self._jobs.get()) is not None:
            outcome = self._run_guarded(running)
            try:
                loop.call_soon_threadsafe(done, self, running, outcome)
            except RuntimeError:  # the loop has closed: nobody is left to answer
                return

    def _run_guarded(self, running: RunningBatch) -> Outcome:
        execution = self.execution
        self._hooks.on_batch(running.batch)
        self._hooks.on_enter()
        try:
            ways = {RunMode.WHOLE: execution.run, RunMode.HALVED: execution.halve, RunMode.APART: execution.isolate}
            return ways[running.mode](running.batch, running.handle)
        except Exception:
            log.exception("instance_failed", instance=self._name)
            return Outcome(failed=[(part, Internal("internal error in the worker")) for part in running.batch.parts])
        finally:
            self._hooks.on_leave()
