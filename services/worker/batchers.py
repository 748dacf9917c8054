"""Makes batchers whose executions are recorded, watched and traced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.worker.batcher import Batcher, BatcherPorts
from services.worker.deployment import batcher_of
from services.worker.ending import Ending
from services.worker.inline_guard import InlineGuard
from services.worker.opening import Opened
from services.worker.replica import Replica
from services.worker.suspects import Suspects
from services.worker.tracing import ExecutionTracer
from services.worker.try_out import TriedOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Batchers:
    """What every execution of this process is surrounded by."""

    suspects: Suspects
    guard: InlineGuard
    ending: Ending
    soon: Callable[[Callable[[], object]], object] | None = None
    """Puts a batcher's turn off; without one the loop's `call_soon`."""
    tracer: ExecutionTracer | None = None
    """None when nothing is traced."""

    def make(self, replica: Replica, opened: Opened, tried: TriedOut) -> Batcher:
        """Return the batcher of a replica that is about to be ready; it has to be started."""
        version = replica.model_version
        replica.hooks = self.suspects.hooks(version, len(opened.sessions))
        ports = BatcherPorts(
            tracer=self.tracer,
            guard=self.guard,
            soon=self.soon,
            hooks=replica.hooks,
            on_stuck=lambda: self.ending.end_because_of(version),
        )
        return batcher_of(opened, tried.costs, tried.row_bytes, ports)

    def release(self, replica: Replica) -> None:
        """Take back what a replica's batcher used, now that it is closed."""
        self.suspects.release(replica.model_version, replica.hooks)
        replica.hooks = ()
