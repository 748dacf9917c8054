"""Frames cut from a byte stream."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1 import link_pb2 as pb
from services.mesh.frames import FRAME_LIMIT_BYTES, FrameBuffer, FrameTooLong, framed


@given(st.lists(st.binary(max_size=50), max_size=10), st.lists(st.integers(1, 40), max_size=30))
def test_frames_are_the_same_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]):
    stream = b"".join(struct.pack("<I", len(body)) + body for body in bodies)
    buffer, received, position = FrameBuffer(), [], 0
    for size in [*cuts, len(stream)]:
        received += [bytes(frame) for frame in buffer.feed(stream[position : position + size])]
        position += size

    assert received == bodies


def test_a_frame_beyond_the_limit_is_no_frame():
    with pytest.raises(FrameTooLong):
        list(FrameBuffer().feed(struct.pack("<I", FRAME_LIMIT_BYTES + 1)))


def test_a_framed_message_is_read_back():
    (body,) = FrameBuffer().feed(framed(pb.WorkerFrame(pong=7)))

    assert pb.WorkerFrame.FromString(bytes(body)).pong == 7
