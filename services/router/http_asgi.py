"""Runs an ASGI call for a request that is already here: uvicorn's cycle, with its body in it from the start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_log = logging.getLogger("uvicorn.error")


def whole_cycle(
    connection: HttpToolsProtocol, scope: Any, body: bytes, default_headers: list[tuple[bytes, bytes]], on_response: Callable[[], None]
) -> RequestResponseCycle:
    """Return the cycle of one request, ready to run.

    Args:
        connection: whose transport the answer goes to.
        scope: of the request.
        body: all of it.
        default_headers: on every answer.
        on_response: called when the answer is written.
    """
    cycle = RequestResponseCycle(
        scope=scope,
        transport=connection.transport,
        flow=connection.flow,
        logger=_log,
        access_logger=connection.access_logger,
        access_log=False,
        default_headers=default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=on_response,
    )
    cycle.body = bytearray(body)
    cycle.more_body = False
    cycle.message_event.set()
    return cycle
