"""Executions before a version is ready: they can be stopped from outside, and their failures say what was being tried."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from penstock.contracts.errors import DeadlineExceeded, LoadFailed, ServingError
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import AnyArray
from services.worker.session import ModelSession, RunHandle, Terminated

Feeds = Mapping[str, AnyArray]


class Trial:
    """Runs a session that nobody else uses yet. `stop` may be called from any thread, and holds for all later executions."""

    def __init__(self, session: ModelSession, signature: Signature) -> None:
        """Store the arguments."""
        self.session = session
        self.signature = signature
        self._outputs = [spec.name for spec in signature.outputs]
        self._lock = threading.Lock()
        self._running: RunHandle | None = None
        self._is_stopped = False

    def run(self, feeds: Feeds) -> dict[str, AnyArray]:
        """Execute once and return the outputs by name.

        Raises:
            ServingError: the model failed, or `stop` was called.
        """
        handle = self.session.new_handle()
        with self._lock:
            if self._is_stopped:
                raise _stopped()
            self._running = handle
        try:
            return dict(zip(self._outputs, self.session.run(feeds, self._outputs, handle), strict=True))
        except Terminated as error:
            raise _stopped() from error
        finally:
            with self._lock:
                self._running = None

    def stop(self) -> None:
        """Stop the execution that is running, if one is, and refuse others."""
        with self._lock:
            self._is_stopped = True
            if self._running is not None:
                self._running.terminate()


def failed(what: str, error: ServingError) -> LoadFailed:
    """Return the refusal of a version of which an execution failed."""
    return LoadFailed(f"{what} failed: {error.message}")


def _stopped() -> DeadlineExceeded:
    return DeadlineExceeded("it was stopped because the load took too long")
