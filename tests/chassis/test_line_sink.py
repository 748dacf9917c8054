"""Lines to a reader that may stop reading."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.chassis.line_sink import LineSink


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):
            os.close(descriptor)


def read_until(reader: int, end: bytes) -> bytes:
    content = b""
    while not content.endswith(end):
        content += os.read(reader, 1 << 16)
    return content


def started(writer: int, **kwargs) -> LineSink:
    sink = LineSink(writer, **kwargs)
    sink.start()
    return sink


def test_lines_arrive_in_order(pipe):
    sink = started(pipe[1])
    lines = [f"{number}\n".encode() for number in range(500)]

    for line in lines:
        sink.write(line)

    assert sink.close(5)
    assert read_until(pipe[0], lines[-1]) == b"".join(lines)


def test_a_blocked_reader_makes_lines_be_dropped_and_counted_but_nobody_wait(pipe):
    sink = started(pipe[1], queue_bytes=10_000, dropped_line=lambda count: f"dropped {count}\n".encode())
    line = b"x" * 999 + b"\n"

    for _ in range(400):
        sink.write(line)

    assert sink.dropped > 200
    assert not sink.flush(0)
    content = read_until(pipe[0], f"dropped {sink.dropped}\n".encode())
    assert content.count(line) + sink.dropped == 400
    assert sink.close(5)


def test_closing_with_a_blocked_reader_ends_in_time(pipe):
    sink = started(pipe[1])
    for _ in range(200):
        sink.write(b"x" * 1000)

    assert not sink.close(0.05)


def test_a_reader_that_is_gone_harms_nobody(pipe):
    os.close(pipe[0])
    sink = started(pipe[1])

    sink.write(b"lost\n")
    sink._thread.join(5)

    assert not sink._thread.is_alive()
    sink.write(b"lost too\n")
    sink.close(0.01)


def test_a_descriptor_made_non_blocking_by_others_still_gets_every_line(pipe):
    os.set_blocking(pipe[1], False)
    sink = started(pipe[1])
    sent = b"".join(f"{number:07}\n".encode() for number in range(20_000))

    for start in range(0, len(sent), 8):
        sink.write(sent[start : start + 8])

    assert read_until(pipe[0], b"0019999\n") == sent
    assert sink.close(5)


def test_many_threads_may_write(pipe):
    sink = started(pipe[1])
    threads = [threading.Thread(target=lambda n=n: [sink.write(f"{n}\n".encode()) for _ in range(100)]) for n in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sink.close(5)
    os.close(pipe[1])
    with os.fdopen(os.dup(pipe[0]), "rb") as reader:
        assert sorted(reader.read().split()) == sorted([b"0", b"1", b"2", b"3"] * 100)


def test_a_full_disk_costs_lines_that_are_counted_and_the_log_goes_on_when_there_is_room_again(tmp_path: Path):
    with (tmp_path / "log").open("ab", buffering=0) as file, Path("/dev/full").open("wb", buffering=0) as full:
        descriptor = os.dup(file.fileno())
        sink = started(descriptor, dropped_line=lambda count: f"dropped {count}\n".encode())
        os.dup2(full.fileno(), descriptor)
        for number in range(3):
            sink.write(f"lost {number}\n".encode())
            assert sink.flush(10)
        os.dup2(file.fileno(), descriptor)
        sink.write(b"here again\n")

        assert sink.close(10)
        os.close(descriptor)
    assert sink.dropped == 3
    assert (tmp_path / "log").read_text().splitlines() == ["here again", "dropped 3"]
