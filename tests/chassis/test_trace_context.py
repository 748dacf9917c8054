"""The traceparent header."""

from __future__ import annotations

import random

import pytest

from services.chassis.trace_context import SpanContext, new_span_id, new_trace_id, parse_traceparent

VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Zeros(random.Random):
    def getrandbits(self, k: int) -> int:
        return 0


def test_a_valid_header_names_the_callers_span():
    parent = parse_traceparent(VALID)

    assert parent is not None
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}", parent.is_sampled) == (VALID[3:35], VALID[36:52], True)


def test_only_the_lowest_flag_means_sampled():
    assert not parse_traceparent(VALID[:-2] + "fe").is_sampled
    assert parse_traceparent(VALID[:-2] + "ff").is_sampled


def test_a_later_version_is_read_by_its_first_fields():
    assert parse_traceparent("01" + VALID[2:] + "-what-comes-later").is_sampled


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "junk",
        VALID[:-1],
        VALID + "0",
        VALID + "-more",
        VALID.upper(),
        "ff" + VALID[2:],
        VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        VALID.replace("00f067aa0ba902b7", "0" * 16),
        VALID + "\n",
    ],
)
def test_an_invalid_header_is_no_parent(header: str | None):
    assert parse_traceparent(header) is None


def test_a_child_keeps_the_trace_and_names_its_parent():
    ids = random.Random(1)
    child = parse_traceparent(VALID).child(ids)
    grandchild = child.child(ids)

    assert grandchild.trace_id == child.trace_id
    assert grandchild.parent_span_id == child.span_id
    assert parse_traceparent(child.traceparent).span_id == child.span_id


def test_ids_are_never_zero():
    assert new_span_id(Zeros()) != 0
    assert new_trace_id(Zeros()) != 0
    assert SpanContext(1, 2).trace_id_hex == "0" * 31 + "1"
