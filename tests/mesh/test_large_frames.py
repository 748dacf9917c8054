"""Frames of one large chunk are frames like all others, read without copying their tensors."""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import accumulate

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1 import link_pb2 as pb
from services.mesh import large_frames

PREFIX = struct.Struct("<I")
LARGE = large_frames.LARGE_BYTES + 1
HEAD = pb.Chunk(chunk_id=300, replica_id=2, count=2, rows_per_request=1, inputs=[pb.InputTemplate(input_index=1, shape=b"\1" * 8)])
COLUMNS = [[b"a" * LARGE, b"b" * LARGE], [b"c" * 3, b""], [b"d" * large_frames.PIECE_BYTES] * 2]


def body_of(columns=COLUMNS, head=HEAD) -> bytes:
    """Return a frame as it arrives, without its length."""
    sent = b"".join(large_frames.frame(PREFIX, head, columns))
    assert PREFIX.unpack(sent[:4]) == (len(sent) - 4,)
    return sent[4:]


def test_protobuf_reads_the_same_chunk():
    (chunk,) = pb.RouterFrame.FromString(body_of()).chunks

    wanted = pb.Chunk()
    wanted.CopyFrom(HEAD)
    for column in COLUMNS:
        wanted.columns.add(raw=b"".join(column), lengths=large_frames.lengths_of(column))
    assert chunk == wanted


def test_what_was_written_is_read():
    large = large_frames.read(memoryview(body_of()))

    assert large is not None
    assert large.head == HEAD
    assert [bytes(column.raw) for column in large.columns] == [b"".join(column) for column in COLUMNS]
    assert [column.lengths for column in large.columns] == [b"", struct.pack("<2I", 3, 0), b""]


def test_what_protobuf_wrote_is_read_wherever_the_columns_stand():
    chunk = pb.Chunk(chunk_id=7, count=1, outputs=b"\0" * 4, traces=[pb.TraceContext(index=0, traceparent="t")])
    chunk.columns.add(raw=b"x" * LARGE)

    large = large_frames.read(memoryview(pb.RouterFrame(chunks=[chunk]).SerializeToString()))

    assert large is not None
    assert (large.head.chunk_id, large.head.outputs, large.head.traces[0].traceparent) == (7, b"\0" * 4, "t")
    assert [bytes(column.raw) for column in large.columns] == [b"x" * LARGE]


def test_frames_that_hold_more_than_a_chunk_are_left_to_protobuf():
    chunk = pb.Chunk(chunk_id=7, count=1, columns=[pb.InputColumn(raw=b"x" * LARGE)])

    for frame in (pb.RouterFrame(chunks=[chunk, chunk]), pb.RouterFrame(chunks=[chunk], ping=3), pb.RouterFrame(ping=3)):
        assert large_frames.read(memoryview(frame.SerializeToString())) is None


@given(st.data())
def test_a_broken_frame_is_left_to_protobuf_or_read_as_protobuf_reads_it(data):
    body = bytearray(body_of([[b"x" * LARGE]]))
    places = st.one_of(st.integers(0, 60), st.integers(0, len(body) - 1))
    for place in data.draw(st.lists(places, max_size=4)):
        body[place] = data.draw(st.integers(0, 255))
    del body[data.draw(st.sampled_from([len(body), len(body) - 1, LARGE, LARGE + 3])) :]
    frame = large = None
    with suppress(DecodeError):
        frame = pb.RouterFrame.FromString(bytes(body))

    with suppress(DecodeError):
        large = large_frames.read(memoryview(bytes(body)))

    if large is not None:
        assert frame is not None
        (chunk,) = frame.chunks
        assert [bytes(column.raw) for column in large.columns] == [column.raw for column in chunk.columns]
        assert [column.lengths for column in large.columns] == [column.lengths for column in chunk.columns]
        del chunk.columns[:]
        assert chunk == large.head


@given(st.lists(st.integers(0, 2**40), max_size=5))
def test_numbers_are_protobufs(numbers):
    written = b"".join(map(large_frames.varint, numbers))

    ends = list(accumulate(len(large_frames.varint(number)) for number in numbers))
    assert all(pb.RouterFrame.FromString(b"\x20" + large_frames.varint(number)).ping == number for number in numbers)
    assert (ends[-1] if ends else 0) == len(written)
