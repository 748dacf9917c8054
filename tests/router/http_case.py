"""The HTTP front for the front port suite: its client speaks the binary tensor extension, one connection a call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.contracts.errors import Draining, error_from
from penstock.oip.v2 import inference_pb2 as pb
from services.router.http_errors import http_status
from services.router.http_front import HttpFront, HttpOptions, open_http
from services.router.http_head import HttpLimits
from tests.router.control_stand import control_stand

Answer = tuple[int, dict[bytes, bytes], bytes]


class HttpRefusal(Exception):
    """What a client sees of a refused call."""

    def __init__(self, code: int, reason: str, message: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.retry_after_ms = code, reason, message, retry_after_ms


class HttpClient:
    """Calls a model over HTTP with OIP protobuf in and out."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()

    async def call(
        self, payload: bytes, *, key: str | None = None, timeout_seconds: float | None = None, trace: str | None = None
    ) -> bytes:
        request = pb.ModelInferRequest.FromString(payload)
        headers = {"x-api-key": key, "traceparent": trace}
        headers["x-request-timeout-ms"] = None if timeout_seconds is None else str(round(timeout_seconds * 1000))
        return as_protobuf(*await self._exchange(as_http(request, headers)))

    async def disconnect(self) -> None:
        for writer in self._open:
            writer.close()

    async def _exchange(self, sent: bytes) -> Answer:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except ConnectionRefusedError:
            # A closed port is how HTTP says that nothing new is taken.
            raise HttpRefusal(int(Draining("").status.grpc), Draining.reason) from None
        self._open.add(writer)
        try:
            writer.write(sent)
            head, _, begun = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n\r\n")
            status, *lines = head.split(b"\r\n")
            fields = dict(line.split(b": ", 1) for line in lines)
            body = begun + await reader.readexactly(int(fields[b"content-length"]) - len(begun))
            return int(status.split(b" ")[1]), fields, body
        finally:
            self._open.discard(writer)
            writer.close()


def as_http(request: pb.ModelInferRequest, headers: dict[str, str | None]) -> bytes:
    """Return a request of the binary tensor extension."""
    inputs = [
        {"name": one.name, "datatype": one.datatype, "shape": list(one.shape), "parameters": {"binary_data_size": len(raw)}}
        for one, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    ]
    document = json.dumps({"id": request.id, "inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = document + b"".join(request.raw_input_contents)
    lines = [f"POST /v2/models/{request.model_name}/infer HTTP/1.1", "host: a", f"content-length: {len(body)}"]
    lines += [f"inference-header-content-length: {len(document)}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode() + body


def as_protobuf(status: int, fields: dict[bytes, bytes], body: bytes) -> bytes:
    """Return the response; a refusal's status, body and headers must agree."""
    if status != 200:
        told = json.loads(body)
        error = error_from(told["reason"], told["error"])
        retry = fields.get(b"retry-after-ms")
        assert status == http_status(error)
        assert fields[b"x-should-retry"] == (b"true" if error.status.is_retryable else b"false")
        assert (retry is not None) == error.status.is_retryable
        raise HttpRefusal(int(error.status.grpc), told["reason"], told["error"], None if retry is None else int(retry))
    end = int(fields[b"inference-header-content-length"])
    document, tail = json.loads(body[:end]), body[end:]
    response = pb.ModelInferResponse(model_name=document["model_name"], model_version=document["model_version"], id=document.get("id", ""))
    for output in document["outputs"]:
        size = output["parameters"]["binary_data_size"]
        response.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        response.raw_output_contents.append(tail[:size])
        tail = tail[size:]
    assert tail == b""
    return response.SerializeToString()


@asynccontextmanager
async def http_face(*, message_bytes: int, open_calls: int) -> AsyncIterator[tuple[HttpFront, HttpClient]]:
    """Open a front and a client of it."""
    options = HttpOptions(port=0, limits=HttpLimits(body_bytes=message_bytes), open_calls_limit=open_calls)
    async with open_http(options, control_stand().control) as face:
        yield face.fronts[0], HttpClient(face.port)
