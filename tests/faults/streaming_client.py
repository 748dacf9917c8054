"""A client that opens streams, reads an answer of each, says so, and stays: for tests that kill it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from threading import Event

import grpc

from tests.faults import oracle
from tests.faults.caller import SERVICE, request_of

CHANNELS = 10


def main(address: str, streams: int) -> None:
    """Open so many streams at `address` and wait for the end."""
    request = request_of("alpha", oracle.rows_of(1, 1), 30.0)

    def requests() -> Iterator[bytes]:
        yield request
        Event().wait()

    channels = [grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(CHANNELS)]
    opened = [channels[number % CHANNELS].stream_stream(SERVICE + "ModelStreamInfer")(requests()) for number in range(streams)]
    for one in opened:
        next(one)
    print("opened", flush=True)
    Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
