import os
import socket
from pathlib import Path

from services.router.socket_queues import owed, still_owed


def filled(connection: socket.socket) -> int:
    connection.setblocking(False)
    sent = 0
    while True:
        try:
            sent += connection.send(bytes(1 << 20))
        except BlockingIOError:
            return sent


def take(connection: socket.socket, count: int) -> None:
    while count > 0:
        count -= len(connection.recv(min(count, 1 << 20)))


def test_bytes_are_owed_until_the_other_side_takes_them_and_other_ports_do_not_count():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0] as served:
            assert owed(port) == {}
            sent = filled(served)

            marks = owed(port)
            assert list(marks) == [served.fileno()]
            assert owed(client.getsockname()[1]) == {}
            assert still_owed(marks, port) == marks
            take(client, sent)
            assert still_owed(marks, port) == {}


def test_what_is_written_later_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0] as served:
            sent = filled(served)
            marks = owed(port)
            take(client, sent)
            filled(served)

            assert owed(port) != {}
            assert still_owed(marks, port) == {}


def test_a_connection_that_is_gone_owes_nothing():
    assert still_owed({999_999: 1}, 1) == {}


def test_looking_leaves_no_descriptor_open():
    reader, writer = os.pipe()
    before = len(list(Path("/proc/self/fd").iterdir()))
    owed(1)
    after = len(list(Path("/proc/self/fd").iterdir()))
    os.close(reader)
    os.close(writer)

    assert after == before
