"""The proxy does what its toxics say: what it would only pretend to break, nothing survives."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.faults.proxy import Proxy, Toxic


@pytest.fixture
def upstream() -> Iterator[tuple[str, int]]:
    """An echo server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while block := connection.recv(65536):
            connection.sendall(block)


@pytest.fixture
def proxy(upstream: tuple[str, int]) -> Iterator[Proxy]:
    with Proxy("test", lambda: upstream) as made:
        yield made


def connected(proxy: Proxy) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=5))


def received(connection: socket.socket, wanted: int) -> bytes:
    data = b""
    while len(data) < wanted and (block := connection.recv(65536)):
        data += block
    return data


def test_without_a_toxic_bytes_pass_unchanged(proxy: Proxy):
    with connected(proxy) as connection:
        connection.sendall(bytes(range(256)) * 1000)

        assert received(connection, 256_000) == bytes(range(256)) * 1000


def test_latency_delays_and_loses_nothing(proxy: Proxy):
    proxy.poison(Toxic(latency_seconds=0.1))
    with connected(proxy) as connection:
        started = time.monotonic()
        connection.sendall(b"late")

        assert received(connection, 4) == b"late"
        assert time.monotonic() - started >= 0.2


def test_a_hang_holds_everything_and_lets_go_of_it_when_lifted(proxy: Proxy):
    with connected(proxy) as connection:
        proxy.poison(Toxic(hang=True))
        connection.sendall(b"held")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        connection.settimeout(5)

        assert received(connection, 4) == b"held"


def test_what_is_forgotten_passes_nothing_more_and_new_connections_do(proxy: Proxy):
    with connected(proxy) as connection:
        connection.sendall(b"x")
        assert received(connection, 1) == b"x"
        proxy.forget()
        proxy.heal()
        connection.sendall(b"lost")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)

        with connected(proxy) as other:
            other.sendall(b"y")
            assert received(other, 1) == b"y"


def test_a_reset_ends_open_connections_and_new_ones(proxy: Proxy):
    with connected(proxy) as connection:
        connection.sendall(b"x")
        assert received(connection, 1) == b"x"
        proxy.poison(Toxic(reset=True))

        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionResetError), connected(proxy) as connection:
        connection.recv(1)


def test_slices_arrive_whole(proxy: Proxy):
    proxy.poison(Toxic(slice_bytes=1))
    with connected(proxy) as connection:
        connection.sendall(b"0123456789" * 2000)

        assert received(connection, 20_000) == b"0123456789" * 2000


def test_a_limit_cuts_after_so_many_bytes(proxy: Proxy):
    with connected(proxy) as connection:
        proxy.poison(Toxic(limit_bytes=7))
        connection.sendall(b"0123456789")

        with suppress(ConnectionResetError):
            assert received(connection, 10) == b"0123456"
            assert connection.recv(1) == b""


def test_bandwidth_takes_its_time(proxy: Proxy):
    proxy.poison(Toxic(bytes_per_second=1000))
    with connected(proxy) as connection:
        started = time.monotonic()
        for _ in range(2):
            connection.sendall(b"x" * 100)
            assert received(connection, 100) == b"x" * 100

        assert time.monotonic() - started >= 0.1


def test_a_target_that_is_gone_resets_the_connection():
    with Proxy("test", lambda: None) as proxy, pytest.raises(ConnectionResetError), connected(proxy) as connection:
        connection.recv(1)
