"""Requests and answers as bytes, for tests that look at connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"


def infer(number: float = 1, *, request_id: str = "", more: str = "", model: str = "echo") -> bytes:
    document = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [number, 0, 0]}]}
    body = json.dumps({"id": request_id, **document} if request_id else document)
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: a\r\n{more}content-length: {len(body)}\r\n\r\n{body}".encode()


def bodies(received: bytes) -> list[bytes]:
    return [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 ")[1:]]


def ids(received: bytes) -> list[str]:
    return [json.loads(body)["id"] for body in bodies(received)]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
