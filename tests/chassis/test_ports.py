"""Ports that all routers share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from services.chassis.ports import Wanted, check_free, owner_of, reserved
from services.chassis.process import CannotStart

HTTP = Wanted(option="--http-port", port=0)


def listening(port: int, *, shares: bool) -> socket.socket:
    listener = socket.socket()
    if shares:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def test_a_reserved_port_can_be_served_by_many_and_connections_reach_only_them():
    with reserved("127.0.0.1", (HTTP,)) as (port,), listening(port, shares=True) as first, listening(port, shares=True) as second:
        reached = 0
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                pass
        for listener in (first, second):
            listener.settimeout(0.2)
            try:
                while True:
                    listener.accept()[0].close()
                    reached += 1
            except TimeoutError:
                continue

    assert reached == 40


def test_a_reserved_port_without_a_server_refuses_connections():
    with reserved("127.0.0.1", (HTTP,)) as (port,), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_free_ports_differ():
    with reserved("127.0.0.1", (HTTP, HTTP)) as (first, second):
        assert first != second


@pytest.mark.parametrize("shares", [True, False])
def test_a_taken_port_is_refused_even_when_its_owner_would_share_it(shares: bool):
    with listening(0, shares=shares) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"port {port} is taken by process {os.getpid()} .*--http-port"):
            check_free("127.0.0.1", Wanted(option="--http-port", port=port))


def test_a_port_that_another_serve_has_reserved_is_taken():
    with reserved("127.0.0.1", (HTTP,)) as (port,), pytest.raises(CannotStart, match=f"port {port} is taken"):
        check_free("127.0.0.1", Wanted(option="--http-port", port=port))


def test_a_port_on_which_connections_of_a_former_server_linger_is_free():
    with listening(0, shares=True) as former:
        port = former.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        former.accept()[0].close()  # closes first, so its side waits in TIME_WAIT
        client.recv(1)
        client.close()

    with reserved("127.0.0.1", (Wanted(option="--http-port", port=port),)) as held:
        assert held == (port,)
        with listening(port, shares=True) as served:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            served.accept()[0].close()


def test_the_owner_in_another_process_is_named():
    listen = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        port = int(process.stdout.readline())
        owner = owner_of(port)
        process.communicate()

    assert owner is not None
    assert owner[0] == process.pid
    assert "create_server" in owner[1]


def test_nobody_owns_a_free_port(free_port: int):
    assert owner_of(free_port) is None


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_here_is_refused(host: str):
    with pytest.raises(CannotStart), reserved(host, (HTTP,)):
        pass
