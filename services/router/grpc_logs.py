"""Keeps out of the log what only says what a caller did.

grpcio's server logs an error with its own stack when a client resets a call, or its deadline passes, just as the answer is written, and
when metadata is no UTF-8, which it repeats. Anybody could fill the log with that, and each line would call for a person.
"""

from __future__ import annotations

import logging

LOGGER = "grpc._cython.cygrpc"
_OF_CALLERS = ("ExecuteBatchError raised in core by servicer method", "Invalid encoding on ")


def silence_callers() -> None:
    """Drop these lines from now on, in this process."""
    logging.getLogger(LOGGER).addFilter(_tells_more)


def _tells_more(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_OF_CALLERS)
