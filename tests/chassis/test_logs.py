"""JSON events on a descriptor."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable

import pytest
import structlog

from services.chassis import logs
from services.chassis.trace_context import SpanContext

Read = Callable[[], list[dict]]


@pytest.fixture
def pipe() -> tuple[int, Read]:
    reader, writer = os.pipe()

    def read() -> list[dict]:
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            return [json.loads(line) for line in file]

    return writer, read


def test_an_event_is_one_json_line_with_its_facts(pipe):
    writer, read = pipe
    with logs.started("router", descriptor=writer):
        structlog.get_logger("any").warning("replica_ejected", worker_id="worker-0", seconds=0.4, nothing=None)

    [line] = read()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "replica_ejected",
        "service": "router",
        "process_id": os.getpid(),
        "worker_id": "worker-0",
        "seconds": 0.4,
    }


def test_events_below_the_level_are_left_out_and_the_level_can_change(pipe):
    writer, read = pipe
    log = structlog.get_logger("any")
    with logs.started("router", "warning", descriptor=writer) as pipeline:
        log.info("hidden")
        log.warning("shown")
        pipeline.set_level("debug")
        log.debug("shown_too")

    assert [line["event"] for line in read()] == ["shown", "shown_too"]


def test_a_trace_of_an_error_is_part_of_its_line(pipe):
    writer, read = pipe
    with logs.started("router", descriptor=writer):
        try:
            raise ValueError("broken\nforged line")
        except ValueError:
            structlog.get_logger("any").exception("wave_failed")

    [line] = read()
    assert line["level"] == "error"
    assert "ValueError: broken" in line["exception"]


def test_lines_of_a_sampled_call_carry_its_ids_and_others_do_not(pipe):
    writer, read = pipe
    log = structlog.get_logger("any")
    with logs.started("router", descriptor=writer):
        with logs.traced(SpanContext(0xAB, 0xCD)):
            log.info("inside")
        with logs.traced(None):
            log.info("unsampled")

    inside, unsampled = read()
    assert (inside["trace_id"], inside["span_id"]) == (f"{0xAB:032x}", f"{0xCD:016x}")
    assert "trace_id" not in unsampled


def test_libraries_and_warnings_write_the_same_lines(pipe):
    writer, read = pipe
    with logs.started("router", descriptor=writer), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.getLogger("uvicorn.error").error("address %s in use", 8000)
        logging.getLogger("noisy").debug("never seen")
        warnings.warn("old call", stacklevel=1)

    first, second = read()
    assert (first["event"], first["logger"], first["message"]) == ("library_log", "uvicorn.error", "address 8000 in use")
    assert "old call" in second["message"]


def test_an_uncaught_exception_is_an_event(pipe):
    writer, read = pipe
    with logs.started("router", descriptor=writer):
        sys.excepthook(ValueError, ValueError("lost"), None)

    [line] = read()
    assert (line["event"], line["level"]) == ("uncaught_exception", "critical")
    assert "ValueError: lost" in line["exception"]


def test_text_that_is_no_unicode_does_not_stop_the_log(pipe):
    writer, read = pipe
    with logs.started("router", descriptor=writer):
        structlog.get_logger("any").info("odd", name="\ud800", thing=object)

    assert read()[0]["event"] == "odd"


def test_after_the_block_logging_is_as_before(pipe):
    before = (list(logging.getLogger().handlers), sys.excepthook)
    with logs.started("router", descriptor=pipe[0]):
        pass

    assert (list(logging.getLogger().handlers), sys.excepthook) == before
    pipe[1]()


@pytest.mark.parametrize("words", [("one",), (1, 2)])
def test_a_library_whose_words_do_not_fit_its_text_goes_on(pipe, words: tuple[object, ...]):
    writer, read = pipe
    with logs.started("router", descriptor=writer):
        logging.getLogger("careless").warning("%d rows", *words)

    assert [line["message"] for line in read()] == ["%d rows"]
