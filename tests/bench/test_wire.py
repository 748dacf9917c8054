"""The open loop's calls are gRPC as others understand it, and what became of each is what the server did."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest
from hpack import Encoder

from bench.bodies import GRPC_PATH
from bench.open_loop import Offer, OpenLoop
from bench.wire import grpc_status

RELEASED_SECONDS = 30.0


class Methods(grpc.GenericRpcHandler):
    """Answers by what is asked: `echo…` with itself, `full` with a refusal, `wait` when it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.seen: list[tuple[str, str]] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(self._answer) if details.method == GRPC_PATH else None

    def _answer(self, asked: bytes, context: grpc.ServicerContext) -> bytes:
        self.seen += [(str(name), str(value)) for name, value in context.invocation_metadata()]
        if asked == b"full":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "there is no room")
        if asked == b"wait":
            self.released.wait(RELEASED_SECONDS)
        return asked


@contextmanager
def served(methods: Methods, *, streams: int = 100) -> Generator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.max_concurrent_streams", streams)])
    server.add_generic_rpc_handlers([methods])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        methods.released.set()
        server.stop(None).wait()


def offer(port: int, request: bytes, *, rate: float = 300.0, deadline_seconds: float = 20.0) -> Offer:
    headers = {"authorization": "Bearer someone"}
    return Offer(port=port, request=request, headers=headers, rate=rate, seconds=0.5, deadline_seconds=deadline_seconds)


@pytest.mark.parametrize("streams", [100, 1])
def test_every_call_is_answered_with_its_own_content_however_few_the_server_takes_at_once(streams: int):
    methods = Methods()
    request = b"echo" * 1000  # all of them are more than the first window of a connection takes
    with served(methods, streams=streams) as port:
        answers = OpenLoop(offer(port, request), seed=1).run()

    assert len(answers) > 100
    assert all(answer.is_ok and answer.content == request for answer in answers)
    assert [answer.due_at for answer in answers] == sorted(answer.due_at for answer in answers)
    assert methods.seen.count(("authorization", "Bearer someone")) == len(answers)


def test_a_refusal_is_told_by_its_code():
    with served(Methods()) as port:
        answers = OpenLoop(offer(port, b"full"), seed=1).run()

    assert {answer.code for answer in answers} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_a_call_over_its_deadline_is_ended_by_its_caller():
    with served(Methods()) as port:
        answers = OpenLoop(offer(port, b"wait", rate=40.0, deadline_seconds=0.1), seed=1).run()

    assert {answer.code for answer in answers} <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
    assert answers
    assert all(answer.content == b"" for answer in answers)


def test_a_server_that_hangs_up_stops_the_run():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(1 << 16)

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        with pytest.raises((SystemExit, ConnectionError)):
            OpenLoop(offer(listener.getsockname()[1], b"echo"), seed=1).run()
        hanging_up.join(RELEASED_SECONDS)

    assert not hanging_up.is_alive()


def test_only_the_last_headers_of_an_answer_have_a_status():
    assert grpc_status(Encoder().encode([(":status", "200"), ("content-type", "application/grpc")])) is None
    assert grpc_status(Encoder().encode([("grpc-status", "8"), ("grpc-message", "full")])) == 8
    with pytest.raises(SystemExit, match="503"):
        grpc_status(Encoder().encode([(":status", "503")]))
