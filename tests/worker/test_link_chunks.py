"""From the wire's chunk to work."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.v1 import link_pb2 as pb
from services.worker.link_chunks import decode
from services.worker.templates import TEMPLATES, TemplateBook
from services.worker.work import PriorityClass
from tests.worker.links import chunk, packed
from tests.worker.works import RecordingSink, packed_shape, signature, text_share

SINK = RecordingSink()


def decoded(wire: pb.Chunk, book: TemplateBook | None = None, offset: float = 0.0):
    return decode(wire, book or TemplateBook(signature(2)), SINK, 5.0, offset)


def test_a_plain_chunk_becomes_work():
    work, refused = decoded(chunk(9, [[1.0, 2.0], [3.0, 4.0]], priority_level=2))

    assert (work.chunk_id, work.count, work.rows, work.arrived_at, work.sink) == (9, 2, 1, 5.0, SINK)
    assert (work.priority_class, work.priority_level) == (PriorityClass.ONLINE, 2)
    assert (work.deadlines, work.tenants, work.tenant, work.traces) == (None, None, 0, ())
    assert work.template.outputs == (0,)
    assert refused == []


def test_equal_descriptions_share_a_template_and_groups_ignore_rows():
    book = TemplateBook(signature(2))
    one, _ = decoded(chunk(1, [[1.0, 2.0]]), book)
    same, _ = decoded(chunk(2, [[3.0, 4.0]] * 3), book)
    longer, _ = decoded(chunk(3, [[3.0, 4.0, 5.0, 6.0]], rows=2), book)

    assert one.template is same.template
    assert longer.template is not one.template
    assert longer.template.group == one.template.group


def test_other_outputs_or_sizes_are_another_group():
    shape = Signature(
        inputs=(TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, -1)),),
        outputs=tuple(TensorSpec(name=name, datatype=DataType.FP32, shape=(-1, -1)) for name in "ab"),
        max_batch_size=4,
    )
    book = TemplateBook(shape)
    groups = {
        decoded(chunk(1, values, outputs=outputs), book)[0].template.group
        for values in ([[1.0]], [[1.0, 2.0]])
        for outputs in (b"", packed("I", 1), packed("I", 1, 0))
    }

    assert len(groups) == 6


def test_templates_are_forgotten_before_they_are_too_many():
    shape = Signature(
        inputs=(TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, -1)),),
        outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, -1)),),
        max_batch_size=4,
    )
    book = TemplateBook(shape)
    for width in range(1, TEMPLATES + 10):
        book.template_of(((0, packed_shape(1, width)),), b"", 1)

    assert len(book._known) < 20


def test_deadlines_come_on_this_process_s_clock():
    work, _ = decoded(chunk(1, [[1.0, 2.0]] * 3, deadlines=packed("Q", 2_000_000, 0, 500_000)), offset=10.0)

    assert work.deadlines == pytest.approx([12.0, math.inf, 10.5])
    assert (work.earliest_deadline, work.latest_deadline) == (10.5, math.inf)


@pytest.mark.parametrize(
    ("tenants", "one", "many"), [((0, 0), 0, None), ((5, 5), 5, None), ((5, 6), 0, [5, 6])], ids=["none", "equal", "mixed"]
)
def test_a_chunk_knows_whether_it_has_one_tenant(tenants, one, many):
    work, _ = decoded(chunk(1, [[1.0, 2.0]] * 2, tenants=packed("I", *tenants)))

    assert work.tenant == one
    assert (work.tenants if many is None else list(work.tenants)) == many


def test_traces_name_their_requests():
    work, _ = decoded(chunk(1, [[1.0, 2.0]] * 2, traces=[pb.TraceContext(index=1, traceparent="00-a-b-01")]))

    assert work.traces == ((1, "00-a-b-01"),)


def test_a_request_with_too_few_bytes_is_refused_and_its_neighbours_are_not():
    raw = bytes(8 + 4 + 8)
    work, refused = decoded(chunk(1, [[0.0, 0.0]] * 3, columns=[pb.InputColumn(raw=raw, lengths=packed("I", 8, 4, 8))]))

    assert [(position, error.reason) for position, error in refused] == [(1, "BYTE_COUNT")]
    assert work.columns[0].one(2) == bytes(8)


def test_texts_may_have_any_length():
    shares = [text_share("a"), text_share("bcd")]
    book = TemplateBook(signature(1, datatype=DataType.BYTES))
    column = pb.InputColumn(raw=b"".join(shares), lengths=packed("I", *map(len, shares)))

    work, refused = decoded(chunk(1, [[0.0]] * 2, columns=[column]), book)

    assert [work.columns[0].one(at) for at in range(2)] == shares
    assert refused == []


REFUSED = {
    "too few bytes": ({"columns": [pb.InputColumn(raw=bytes(12))]}, "BYTE_COUNT"),
    "no bytes": ({"columns": [pb.InputColumn()]}, "BYTE_COUNT"),
    "no column": ({"columns": []}, "MALFORMED"),
    "two columns": ({"columns": [pb.InputColumn(raw=bytes(16))] * 2}, "MALFORMED"),
    "lengths that do not add up": ({"columns": [pb.InputColumn(raw=bytes(16), lengths=packed("I", 8, 9))]}, "BYTE_COUNT"),
    "cut lengths": ({"columns": [pb.InputColumn(raw=bytes(16), lengths=b"\x08\x00")]}, "MALFORMED"),
    "cut deadlines": ({"deadlines": bytes(9)}, "MALFORMED"),
    "one deadline for two": ({"deadlines": bytes(8)}, "MALFORMED"),
    "cut tenants": ({"tenants": bytes(7)}, "MALFORMED"),
    "no class": ({"priority_class": 0}, "BAD_PARAMETER"),
    "unknown class": ({"priority_class": 9}, "BAD_PARAMETER"),
    "unknown input": ({"inputs": [pb.InputTemplate(input_index=3, shape=packed_shape(1, 2))]}, "UNKNOWN_INPUT"),
    "no input": ({"inputs": [], "columns": []}, "MISSING_INPUT"),
    "input twice": ({"inputs": [pb.InputTemplate(shape=packed_shape(1, 2))] * 2}, "DUPLICATE_INPUT"),
    "cut shape": ({"inputs": [pb.InputTemplate(shape=bytes(15))]}, "MALFORMED"),
    "wrong size": ({"inputs": [pb.InputTemplate(shape=packed_shape(1, 3))]}, "SHAPE_MISMATCH"),
    "wrong rank": ({"inputs": [pb.InputTemplate(shape=packed_shape(2))]}, "SHAPE_MISMATCH"),
    "negative size": ({"inputs": [pb.InputTemplate(shape=packed_shape(-1, 2))]}, "SHAPE_MISMATCH"),
    "no rows": ({"inputs": [pb.InputTemplate(shape=packed_shape(0, 2))], "rows_per_request": 0}, "SHAPE_MISMATCH"),
    "other rows than announced": ({"rows_per_request": 2}, "SHAPE_MISMATCH"),
    "too many rows": ({"inputs": [pb.InputTemplate(shape=packed_shape(9, 2))], "rows_per_request": 9}, "BATCH_TOO_LARGE"),
    "unknown output": ({"outputs": packed("I", 1)}, "UNKNOWN_OUTPUT"),
    "output twice": ({"outputs": packed("I", 0, 0)}, "UNKNOWN_OUTPUT"),
    "cut outputs": ({"outputs": b"\x00"}, "UNKNOWN_OUTPUT"),
}


@pytest.mark.parametrize(("wrong", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_contradicts_the_signature_or_itself_is_refused(wrong, reason):
    with pytest.raises(InvalidInput) as caught:
        decoded(chunk(1, [[0.0, 0.0]] * 2, **wrong))

    assert caught.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_chunk_ever_raises_anything_but_a_refusal(data):
    columns = st.builds(pb.InputColumn, raw=st.binary(max_size=40), lengths=st.binary(max_size=12))
    inputs = st.builds(pb.InputTemplate, input_index=st.integers(0, 3), shape=st.binary(max_size=24) | st.just(packed_shape(1, 2)))
    wire = data.draw(
        st.builds(
            pb.Chunk,
            chunk_id=st.just(1),
            count=st.integers(1, 5),
            rows_per_request=st.integers(0, 3),
            priority_class=st.integers(0, 4),
            priority_level=st.integers(0, 2**32 - 1),
            inputs=st.lists(inputs, max_size=2),
            columns=st.lists(columns, max_size=2),
            outputs=st.binary(max_size=8),
            deadlines=st.binary(max_size=40),
            tenants=st.binary(max_size=20),
        )
    )
    try:
        work, refused = decoded(wire)
    except InvalidInput:
        return
    assert work.count == wire.count
    assert all(0 <= position < work.count for position, _ in refused)
    assert all(column.one(at) is not None for column in work.columns for at in range(work.count))
