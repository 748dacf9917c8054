"""One JSON line on stderr for each change of state.

Keys: `time` (UTC), `level`, `event` (a constant name), `service`, `process_id`, then the facts; `trace_id` and `span_id` where the
code runs for a sampled call (`logs.traced`). info means that the state changed, warning that it is degraded but serving, error that
a person must look. Lines of foreign libraries arrive as the event `library_log` with their text in `message`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from services.chassis.line_sink import LineSink
from services.chassis.trace_context import SpanContext

Level = Literal["debug", "info", "warning", "error", "critical"]
"""Least level that is written."""

STDERR = 2

_NUMBER = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}


class LogPipeline:
    """Turns events into lines; made by `started`."""

    def __init__(self, service: str, level: Level, descriptor: int) -> None:
        """Store the arguments."""
        self._service = service
        self._process_id = os.getpid()
        self._least = _NUMBER[level]
        self.sink = LineSink(descriptor, dropped_line=self._dropped_line)

    def set_level(self, level: Level) -> None:
        """Change the least level that is written."""
        self._least = _NUMBER[level]
        logging.getLogger().setLevel(max(self._least, logging.INFO))

    @property
    def dropped(self) -> int:
        """Lines dropped because nobody read them."""
        return self.sink.dropped

    def render(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> bytes:
        """Make the line of one event; the last processor of structlog.

        Raises:
            structlog.DropEvent: it is below the least level.
        """
        level = "error" if method == "exception" else method
        if _NUMBER.get(level, logging.INFO) < self._least:
            raise structlog.DropEvent
        head = {
            "time": _utc_now(),
            "level": level,
            "event": event.pop("event", ""),
            "service": self._service,
            "process_id": self._process_id,
        }
        if event.get("exc_info"):
            event["exception"] = _trace_of(event.pop("exc_info"))
        return _line({**head, **event})

    def _dropped_line(self, count: int) -> bytes:
        return self.render(None, "warning", {"event": "log_lines_dropped", "count": count})


@contextmanager
def started(service: str, level: Level = "info", *, descriptor: int = STDERR) -> Generator[LogPipeline]:
    """Write the events of this process, its libraries and its uncaught exceptions, until the block ends."""
    pipeline = LogPipeline(service, level, descriptor)
    pipeline.sink.start()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, pipeline.render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=lambda *_: _SinkLogger(pipeline.sink),
        cache_logger_on_first_use=False,
    )
    with _libraries_to(pipeline):
        try:
            yield pipeline
        finally:
            pipeline.sink.close()
            structlog.reset_defaults()


@contextmanager
def traced(context: SpanContext | None) -> Generator[None]:
    """Put the ids of a sampled call on every line of the block; for an unsampled call nothing."""
    if context is None:
        yield
        return
    with structlog.contextvars.bound_contextvars(trace_id=context.trace_id_hex, span_id=context.span_id_hex):
        yield


class _SinkLogger:
    """What structlog calls with a finished line."""

    def __init__(self, sink: LineSink) -> None:
        self.msg = self.debug = self.info = self.warning = self.error = self.critical = self.exception = sink.write


class _LibraryLogs(logging.Handler):
    """Takes what libraries write to `logging`."""

    def __init__(self, pipeline: LogPipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        event: dict[str, Any] = {"event": "library_log", "logger": record.name, "message": _text(record), "exc_info": record.exc_info}
        with contextlib.suppress(structlog.DropEvent):
            self._pipeline.sink.write(self._pipeline.render(None, level, event))


def _text(record: logging.LogRecord) -> str:
    """Return what a library says; a call whose words do not fit its text must not fail for that."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  the words are strangers, and so is what they raise when they are written
        return str(record.msg)


@contextmanager
def _libraries_to(pipeline: LogPipeline) -> Generator[None]:
    root = logging.getLogger()
    before = (root.handlers, root.level, sys.excepthook)
    root.handlers = [_LibraryLogs(pipeline)]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda kind, error, trace: structlog.get_logger(__name__).critical("uncaught_exception", exc_info=(kind, error, trace))
    try:
        yield
    finally:
        root.handlers, level, sys.excepthook = before
        root.setLevel(level)
        logging.captureWarnings(capture=False)


def _line(event: MutableMapping[str, Any]) -> bytes:
    facts = {key: value for key, value in event.items() if value is not None}
    return json.dumps(facts, default=str, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _trace_of(error: Any) -> str:
    if isinstance(error, BaseException):
        return "".join(traceback.format_exception(error))
    if isinstance(error, tuple):
        return "".join(traceback.format_exception(*error))
    return traceback.format_exc()
