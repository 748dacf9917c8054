from __future__ import annotations

import logging

import pytest

from services.router.grpc_logs import LOGGER, silence_callers


def test_only_lines_that_callers_cause_are_dropped(caplog: pytest.LogCaptureFixture):
    silence_callers()
    silence_callers()
    logger = logging.getLogger(LOGGER)
    logger.error("ExecuteBatchError raised in core by servicer method [%s]", "/a/B")
    logger.error("Invalid encoding on %s", b"\xff")
    logger.error("Unexpected [%s] raised by servicer method [%s]", "ValueError", "/a/B")

    assert [record.getMessage() for record in caplog.records] == ["Unexpected [ValueError] raised by servicer method [/a/B]"]
    assert len(logger.filters) == 1
