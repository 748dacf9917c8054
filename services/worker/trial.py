"""Executions before a version is ready: they can be stopped from outside, and their failures say what was being tried."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from penstock.contracts.errors import DeadlineExceeded, LoadFailed, OutputContract, ServingError
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import AnyArray
from services.worker.output_checks import OutputCheck
from services.worker.session import ModelSession, RunHandle, Terminated

Feeds = Mapping[str, AnyArray]


class Trial:
    """Runs a session that nobody else uses yet. `stop` may be called from any thread, and holds for all later executions."""

    def __init__(self, session: ModelSession, signature: Signature) -> None:
        """Store the arguments."""
        self.session = session
        self.signature = signature
        self._outputs = [spec.name for spec in signature.outputs]
        self._checks = [OutputCheck(spec) for spec in signature.outputs]
        self._lock = threading.Lock()
        self._running: RunHandle | None = None
        self._is_stopped = False

    def run(self, feeds: Feeds) -> dict[str, AnyArray]:
        """Execute once and return the outputs by name.

        Raises:
            OutputContract: an output is not what the signature says.
            ServingError: the model failed, or `stop` was called.
        """
        handle = self.session.new_handle()
        with self._lock:
            if self._is_stopped:
                raise _stopped()
            self._running = handle
        try:
            arrays = self.session.run(feeds, self._outputs, handle)
        except Terminated as error:
            raise _stopped() from error
        finally:
            with self._lock:
                self._running = None
        rows = next((len(array) for array in feeds.values()), 1) if self.signature.has_batch_dimension else None
        for check, array in zip(self._checks, arrays, strict=True):
            check.check(array, rows)
        return dict(zip(self._outputs, arrays, strict=True))

    def stop(self) -> None:
        """Stop the execution that is running, if one is, and refuse others."""
        with self._lock:
            self._is_stopped = True
            if self._running is not None:
                self._running.terminate()


def failed(what: str, error: ServingError) -> LoadFailed:
    """Return the refusal of a version of which an execution failed."""
    return LoadFailed(f"{what} failed: {error.message}")


def breach(error: OutputContract) -> LoadFailed:
    """Return the refusal of a version that does not keep its signature when it is tried."""
    return LoadFailed(
        f"when it was tried, {error.message}: set max_batch_size to 0 if the first dimension does not count rows, add a model_warmup "
        "sample if zeros are nothing that the model takes, else export it with the shapes that its outputs have"
    )


def _stopped() -> DeadlineExceeded:
    return DeadlineExceeded("it was stopped because the load took too long")
