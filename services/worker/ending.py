"""The end of a process that can only be ended: an execution does not stop, and no thread can be made to."""

from __future__ import annotations

import os
from typing import NoReturn

import structlog

from penstock.contracts.names import ModelVersion
from services.chassis.logs import LogPipeline
from services.worker.suspects import Suspects

EXIT_STUCK = 70
"""Exit code (EX_SOFTWARE of sysexits.h); the supervisor starts another worker."""

FLUSH_SECONDS = 0.2
"""Longest wait for the last lines of the log."""

log = structlog.get_logger(__name__)


class Ending:
    """Ends this process at once, and leaves word why."""

    def __init__(self, suspects: Suspects, logs: LogPipeline | None) -> None:
        """Store where to leave word."""
        self._suspects = suspects
        self._logs = logs

    def end(self) -> NoReturn:
        """End because an execution on the event loop ignores its brake; the black box names its version already."""
        self._end("an execution on the event loop ignored its brake")

    def end_because_of(self, version: ModelVersion) -> NoReturn:
        """End because an execution of a version ignores its brake."""
        reason = f"an execution of {version} ignored its brake"
        self._suspects.blame(version, reason)
        self._end(reason)

    def _end(self, reason: str) -> NoReturn:
        log.error("worker_ends_itself", reason=reason, exit_code=EXIT_STUCK)
        if self._logs is not None:
            self._logs.sink.flush(FLUSH_SECONDS)
        os._exit(EXIT_STUCK)
