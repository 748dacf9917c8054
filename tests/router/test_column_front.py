"""What is penstock-front's own: waves in one write, limits at the wire, time, and connections that are asked to go."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import grpc
import grpc.aio
import pytest

from penstock.contracts.errors import GrpcCode, Overloaded
from services.chassis.tls_files import TlsFiles
from services.router.column_front import MODULE, ColumnFront, ColumnFrontOptions
from tests.hostile import http2
from tests.hostile.http2 import END_HEADERS, HEADERS, NO_WINDOW, Wire, connected, frame, grpc_headers
from tests.router.front_cases import MODEL_INFER, Reader, Refusal, answer_to, grpc_client, id_of, request

if find_spec(MODULE) is None:
    pytest.skip("penstock-front is not built: no cargo was there at setup", allow_module_level=True)

OPTIONS = ColumnFrontOptions(port=0)


class Echo(Reader):
    """Answers whatever comes."""

    def _take(self) -> None:
        super()._take()
        taken, self.calls = self.calls, []
        self._front.respond_many([call_id for call_id, *_ in taken], [answer_to(payload) for _, payload, *_ in taken])


@asynccontextmanager
async def opened(reader_class: type[Reader] = Reader, **changes: object) -> AsyncGenerator[tuple[ColumnFront, Reader]]:
    async with ColumnFront(replace(OPTIONS, **changes)) as front:  # type: ignore[arg-type]
        reader = reader_class(front)
        yield front, reader
        reader.stop()


async def on_the_wire(front: ColumnFront, act: Callable[[Wire], object], *, settings: bytes = b"") -> object:
    """Run an act on a connection of frames, beside the loop."""

    def run() -> object:
        with connected(f"127.0.0.1:{front.port}", settings=settings) as wire:
            return act(wire)

    return await asyncio.to_thread(run)


async def test_a_wave_of_answers_leaves_in_one_write():
    async with opened() as (front, reader), grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        calls = [asyncio.ensure_future(call(request(f"r{number}"))) for number in range(200)]
        received = await reader.receive(200)
        before = front.counters()["writes"]
        front.respond_many([call_id for call_id, *_ in received], [answer_to(payload) for _, payload, *_ in received])
        await asyncio.gather(*calls)

        assert front.counters()["writes"] - before <= 20


async def test_a_list_of_addresses_for_a_target_is_served():
    async with opened(Echo) as (front, _), grpc_client(f"ipv4:127.0.0.1:{front.port},127.0.0.1:{front.port}") as (call, _):
        answers = [id_of(await call(request(f"r{number}"))) for number in range(3)]

    assert answers == ["r0", "r1", "r2"]


@pytest.mark.parametrize("authority", [b"a", b"a,b", b"10.0.0.1:8001%2C10.0.0.2:8001", b"/run/a.sock", b"x" * 300 + b" %"])
async def test_an_authority_of_any_shape_is_served(authority: bytes):
    block = grpc_headers().replace(http2.literal(b":authority", b"a"), http2.literal(b":authority", authority))
    async with opened(Echo) as (front, _):

        def act(wire: Wire) -> list[int | None]:
            for stream in (1, 3):
                wire.call(request(), stream=stream, headers=block)
                wire.until(lambda: wire.status(3) is not None, seconds=0.2 if stream == 1 else 30)
            return [wire.status(1), wire.status(3)]

        assert await on_the_wire(front, act) == [0, 0]


async def test_a_message_is_refused_by_its_prefix_alone():
    async with opened(message_limit_bytes=1000) as (front, _):

        def act(wire: Wire) -> int | None:
            wire.send(HEADERS, grpc_headers(), flags=END_HEADERS, stream=1)
            wire.send(http2.DATA, struct.pack(">BI", 0, 1001), stream=1)
            wire.until(lambda: wire.status() is not None, seconds=30)
            return wire.status()

        assert await on_the_wire(front, act) == GrpcCode.RESOURCE_EXHAUSTED
        assert front.counters()["refused_too_large"] == 1


async def test_bytes_of_all_calls_have_a_limit_and_come_free_when_calls_end():
    async with opened(held_limit_bytes=100_000) as (front, reader), grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        held = asyncio.ensure_future(call(request("held", 60_000)))
        [(call_id, payload, *_)] = await reader.receive()
        with pytest.raises(Refusal) as refused:
            await call(request("more", 60_000))
        front.respond_many([call_id], [answer_to(payload)])
        await held
        last = asyncio.ensure_future(call(request("last", 60_000)))
        [(call_id, payload, *_)] = await reader.receive()
        front.respond_many([call_id], [answer_to(payload)])

        assert id_of(await last) == "last"
    assert refused.value.reason == Overloaded.reason


async def test_an_answer_that_is_not_taken_is_held_for_so_long_and_no_longer():
    async with opened(Echo, stall_seconds=0.2) as (front, _):

        def act(wire: Wire) -> int | None:
            wire.call(request())
            wire.until(lambda: wire.status() is not None, seconds=30)
            return wire.status()

        assert await on_the_wire(front, act, settings=NO_WINDOW) == GrpcCode.DEADLINE_EXCEEDED


async def test_a_connection_that_grows_old_is_asked_to_go_and_no_call_is_lost():
    async with opened(Echo, connection_seconds=0.3) as (front, _), grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        number = 0
        while front.counters()["connections"] < 4:
            assert id_of(await call(request(f"r{number}"))) == f"r{number}"
            number += 1


async def test_an_idle_connection_is_asked_to_go():
    async with opened(idle_seconds=0.3) as (front, _):
        assert await on_the_wire(front, lambda wire: wire.until(wire.goaways, seconds=30))


async def test_a_silent_connection_is_pinged_and_then_cut():
    async with opened(keepalive_seconds=0.2, keepalive_timeout_seconds=0.3) as (front, _):

        def act(wire: Wire) -> tuple[int, bool]:
            wire.until(lambda: False, seconds=30)
            return wire.count(http2.PING), wire.is_closed

        pings, is_closed = await on_the_wire(front, act)  # type: ignore[misc]
        assert pings >= 1
        assert is_closed
        assert front.counters()["cut_off"] == 1


async def test_a_connection_that_answers_pings_stays():
    async with opened(keepalive_seconds=0.2, keepalive_timeout_seconds=5.0) as (front, _):

        def act(wire: Wire) -> bool:
            for answered in range(3):
                assert wire.until(lambda answered=answered: wire.count(http2.PING) > answered, seconds=30)
                ping = [one for one in wire.frames if one.kind == http2.PING][-1]
                wire.push(frame(http2.PING, ping.payload, flags=http2.ACK))
            return wire.is_closed

        assert await on_the_wire(front, act) is False


async def test_a_drain_asks_connections_to_go_and_ends_them_when_their_calls_end():
    async with opened() as (front, reader):
        drained: list[asyncio.Future[None]] = []

        async def drain() -> None:
            [(call_id, payload, *_)] = await reader.receive()
            drained.append(asyncio.ensure_future(front.drain(time.monotonic() + 30)))
            while front.counters()["refused_draining"] == 0:
                await asyncio.sleep(0.01)
            front.respond_many([call_id], [answer_to(payload)])

        def act(wire: Wire) -> tuple[list[int], int | None, int | None]:
            wire.call(request())
            wire.until(wire.goaways, seconds=30)
            wire.call(request(), stream=3)
            wire.until(lambda: wire.status(3) is not None and wire.status() is not None, seconds=30)
            return wire.goaways()[:1], wire.status(), wire.status(3)

        draining = asyncio.ensure_future(drain())
        assert await on_the_wire(front, act) == ([0], 0, GrpcCode.UNAVAILABLE)
        await draining
        await drained[0]


async def test_metadata_beyond_key_and_trace_is_read_call_by_call():
    async with opened() as (front, reader), grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
        infer = channel.unary_unary(MODEL_INFER)
        known = asyncio.ensure_future(infer(request("known"), metadata=(("authorization", "Bearer mine"), ("x-user-id", "ann"))))
        plain = asyncio.ensure_future(infer(request("plain"), metadata=(("x-request-id", "r-1"), ("x-api-key", "other"))))
        received = await reader.receive(2)
        front.respond_many([call_id for call_id, *_ in received], [answer_to(payload) for _, payload, *_ in received])
        await asyncio.gather(known, plain)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await infer(request("bad"), metadata=(("x-request-id", "x" * 300),))

    assert {id_of(answer_to(payload)): key for _, payload, key, *_ in received} == {"known": "mine", "plain": "other"}
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reader.calls == []


async def test_columns_of_different_length_are_a_mistake_and_send_nothing():
    async with opened() as (front, reader), grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        waiting = asyncio.ensure_future(call(request("r")))
        [(call_id, payload, *_)] = await reader.receive()
        with pytest.raises(ValueError, match="length"):
            front.respond_many([call_id], [])
        with pytest.raises(ValueError, match="length"):
            front.respond_many([], [b""])
        front.respond_many([call_id], [answer_to(payload)])

        assert id_of(await waiting) == "r"


async def test_a_certificate_that_cannot_be_read_is_an_error_that_names_the_file(tmp_path: Path):
    files = TlsFiles(certificate_chain=tmp_path / "chain.pem", private_key=tmp_path / "key.pem")
    with pytest.raises(OSError, match=r"chain\.pem"):
        await ColumnFront(replace(OPTIONS, tls=files)).__aenter__()


async def test_where_a_call_comes_from_is_told_while_its_connection_lasts():
    async with opened() as (front, reader), grpc_client(f"127.0.0.1:{front.port}") as (call, disconnect):
        asked = asyncio.ensure_future(call(request()))
        [(call_id, *_)] = await reader.receive()
        peer_of = front.recv_wave(1).peer_of
        assert peer_of is not None
        meanwhile = peer_of(call_id)
        front.respond_many([call_id], [answer_to(request())])
        await asked
        await disconnect()
        async with asyncio.timeout(30):
            while peer_of(call_id) is not None:
                await asyncio.sleep(0.01)

    assert meanwhile == "127.0.0.1"
