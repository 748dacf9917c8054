import os
import socket
from pathlib import Path

from services.router.socket_queues import queued_bytes


def test_bytes_are_queued_until_the_other_side_takes_them_and_other_ports_do_not_count():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0] as served:
            served.setblocking(False)
            sent = 0
            while True:
                try:
                    sent += served.send(bytes(1 << 20))
                except BlockingIOError:
                    break
            assert queued_bytes(port) > 0
            assert queued_bytes(client.getsockname()[1]) == 0
            while sent > 0:
                sent -= len(client.recv(1 << 20))

            assert queued_bytes(port) == 0


def test_looking_leaves_no_descriptor_open():
    reader, writer = os.pipe()
    before = len(list(Path("/proc/self/fd").iterdir()))
    queued_bytes(1)
    after = len(list(Path("/proc/self/fd").iterdir()))
    os.close(reader)
    os.close(writer)

    assert after == before
