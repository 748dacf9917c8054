"""The controller on the router's ports: passed on as it came, to whoever leads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import httpx2
import pytest
import uvicorn

from penstock.client.control import Control, Write
from penstock.client.options import ClientOptions
from penstock.client.retry import RetryPolicy
from penstock.contracts.errors import Conflict, NotImplementedHere, ServingError, Unavailable
from penstock.v1 import controller_pb2 as pb
from services.router.controller_link import Addresses
from tests.router.proxy_stand import router


class FarController:
    """Speaks both faces; a standby refuses everything with NOT_THE_WRITER."""

    def __init__(self, *, leads: bool = True) -> None:
        self.leads = leads
        self.asked: list[tuple[Any, dict[str, Any]]] = []
        self.received = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Addresses]:
        server = grpc.aio.server()
        methods = {
            "Rollback": grpc.unary_unary_rpc_method_handler(self._rollback, pb.RollbackRequest.FromString),
            "ListModels": grpc.unary_unary_rpc_method_handler(self._refuse),
            "UploadBlob": grpc.stream_unary_rpc_method_handler(self._upload, pb.UploadBlobRequest.FromString),
        }
        server.add_registered_method_handlers("penstock.v1.Controller", methods)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        http = uvicorn.Server(uvicorn.Config(self._http, host="127.0.0.1", port=0, log_config=None, lifespan="off", interface="asgi3"))
        serving = asyncio.create_task(http.serve())
        while not http.started:
            await asyncio.sleep(0.01)
        yield Addresses(grpc=f"127.0.0.1:{port}", http=f"127.0.0.1:{http.servers[0].sockets[0].getsockname()[1]}")
        http.should_exit = True
        await serving
        await server.stop(0)

    async def _rollback(self, request: pb.RollbackRequest, context: Any) -> bytes:
        self.asked.append((request, dict(context.invocation_metadata())))
        if not self.leads:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "stands by", (("penstock-reason", "NOT_THE_WRITER"),))
        return pb.RollbackResponse(elapsed_seconds=0.5).SerializeToString()

    async def _refuse(self, _: bytes, context: Any) -> bytes:
        return await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "somebody was faster", (("penstock-reason", "CONFLICT"),))

    async def _upload(self, requests: Any, _: Any) -> bytes:
        async for one in requests:
            self.received += len(one.chunk)
        return pb.UploadBlobResponse(received_bytes=self.received).SerializeToString()

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        seen = {"path": scope["path"], "query": scope["query_string"].decode(), "method": scope["method"], "body": message["body"].decode()}
        seen |= {name.decode(): value.decode() for name, value in scope["headers"]}
        headers = [(b"content-type", b"application/json"), (b"etag", b'"7"'), (b"server", b"secret")]
        headers += [] if self.leads else [(b"penstock-reason", b"NOT_THE_WRITER")]
        await send({"type": "http.response.start", "status": 202 if self.leads else 503, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


def asking(target: str, call: Any) -> Any:
    with Control(target, ClientOptions(api_key="penstock_key", retries=RetryPolicy(attempts=1))) as control:
        return call(control)


NOBODY = Addresses(grpc="127.0.0.1:1", http="127.0.0.1:1")


async def test_a_call_reaches_the_controller_with_its_callers_key():
    far = FarController()
    async with far.open() as address, router([address]) as (target, _):
        answer = await asyncio.to_thread(asking, target, lambda control: control.rollback("m", "", Write(reason="why")))

    request, metadata = far.asked[0]
    assert (answer.elapsed_seconds, request.model, request.options.reason) == (0.5, "m", "why")
    assert metadata["x-api-key"] == "penstock_key"


async def test_a_refusal_comes_back_as_it_was_said():
    async with FarController().open() as address, router([address]) as (target, _):
        with pytest.raises(Conflict, match="somebody was faster"):
            await asyncio.to_thread(asking, target, lambda control: control.models())


async def test_a_standby_and_a_dead_controller_are_passed_over():
    standby, leader = FarController(leads=False), FarController()
    async with standby.open() as second, leader.open() as third, router([NOBODY, second, third]) as (target, http):
        for _ in range(3):
            await asyncio.to_thread(asking, target, lambda control: control.rollback("m"))
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{http}/api/v1/changes")

    assert (len(leader.asked), len(standby.asked), answer.status_code) == (3, 1, 202)


async def test_without_any_that_answers_the_refusal_names_no_address():
    async with router([NOBODY]) as (target, http):
        with pytest.raises(Unavailable) as refused:
            await asyncio.to_thread(asking, target, lambda control: control.rollback("m"))
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{http}/api/v1/changes")

    assert (refused.value.reason, "127.0.0.1" in refused.value.message) == ("CONTROLLER_AWAY", False)
    assert (answer.status_code, answer.json()["reason"]) == (503, "CONTROLLER_AWAY")


async def test_a_server_without_a_controller_says_what_starts_one():
    async with router([]) as (target, http):
        with pytest.raises(NotImplementedHere, match="penstock up") as refused:
            await asyncio.to_thread(asking, target, lambda control: control.rollback("m"))
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{http}/api/v1/deployments", json={})

    assert (refused.value.reason, answer.status_code, answer.json()["reason"]) == ("NO_CONTROLLER", 501, "NO_CONTROLLER")


async def test_an_upload_is_passed_on_piece_by_piece():
    far = FarController()

    def upload(control: Control) -> pb.UploadBlobResponse:
        pieces = (pb.UploadBlobRequest(chunk=b"x" * 100_000) for _ in range(20))
        return control.call(control.stub.UploadBlob, pieces)

    async with far.open() as address, router([address]) as (target, _):
        answer = await asyncio.to_thread(asking, target, upload)

    assert answer.received_bytes == 2_000_000


@pytest.mark.parametrize("addresses", [(), (NOBODY,)])
async def test_an_upload_without_a_controller_is_refused(addresses: Sequence[Addresses]):
    async with router(addresses) as (target, _):
        with pytest.raises(ServingError) as refused:
            await asyncio.to_thread(
                asking, target, lambda control: control.call(control.stub.UploadBlob, iter([pb.UploadBlobRequest(chunk=b"x")]))
            )

    assert refused.value.reason in ("NO_CONTROLLER", "CONTROLLER_AWAY")


async def test_http_is_passed_on_with_body_query_and_the_headers_that_matter():
    async with FarController().open() as address, router([address]) as (_, http), httpx2.AsyncClient(trust_env=False) as client:
        headers = {
            "x-api-key": "k",
            "if-match": '"3"',
            "idempotency-key": "once",
            "x-tenant-id": "forged",
            "content-type": "application/json",
        }
        answer = await client.put(
            f"{http}/api/v1/deployments/fraud/traffic?dry_run=1", headers=headers, content=b'{"v3.0": 50, "v3.1": 50}'
        )
    seen = answer.json()

    assert (answer.status_code, answer.headers["etag"], answer.headers.get("server")) == (202, '"7"', None)
    assert (seen["method"], seen["path"], seen["query"]) == ("PUT", "/api/v1/deployments/fraud/traffic", "dry_run=1")
    assert (seen["body"], seen["x-api-key"], seen["if-match"], seen["idempotency-key"]) == ('{"v3.0": 50, "v3.1": 50}', "k", '"3"', "once")
    assert "x-tenant-id" not in seen
