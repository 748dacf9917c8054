"""Bytes of many requests to arrays, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput
from penstock.contracts.tensors import DataType, split_bytes
from services.worker.batch_buffer import assemble, sift, split
from services.worker.work import Column, Part, Template, TemplateInput, Work
from tests.worker.works import RecordingSink, _shares, raw_work, template, text_share, work


def numbers(array) -> list:
    return array.tolist()


def test_a_whole_chunk_is_viewed_without_a_copy():
    chunk = work(1, [[1.0, 2.0], [3.0, 4.0]])

    array = assemble([Part(chunk, range(2))])["x"]

    assert numbers(array) == [[1.0, 2.0], [3.0, 4.0]]
    assert np.shares_memory(array, np.frombuffer(chunk.columns[0].raw, dtype=np.float32))


def test_ranges_and_lists_of_positions_are_joined_in_order():
    one = work(1, [[float(at)] for at in range(6)])
    other = work(2, [[10.0, 11.0], [12.0, 13.0]], rows=2)

    array = assemble([Part(one, range(2, 4)), Part(other, [1]), Part(one, [5, 0])])["x"]

    assert numbers(array.ravel()) == [2.0, 3.0, 12.0, 13.0, 5.0, 0.0]


def test_shares_of_announced_lengths_are_found_by_their_ends():
    chunk = raw_work(1, [np.float32([at]).tobytes() for at in range(4)], template())

    assert numbers(assemble([Part(chunk, range(1, 3))])["x"].ravel()) == [1.0, 2.0]


def test_every_input_has_a_column_of_its_own():
    inputs = tuple(
        TemplateInput(name=name, datatype=kind, shape=(1, 1), request_bytes=size)
        for name, kind, size in (("a", DataType.INT8, 1), ("b", DataType.FP64, 8))
    )
    chunk = Work(
        chunk_id=1,
        count=2,
        template=Template(inputs=inputs, outputs=(0,), rows=1, group=0),
        columns=(Column(b"\x01\xff", None, 1), Column(np.float64([0.5, 1.5]).tobytes(), None, 8)),
        sink=RecordingSink(),
        arrived_at=0.0,
    )

    feeds = assemble([Part(chunk, range(2))])

    assert numbers(feeds["a"]) == [[1], [-1]]
    assert numbers(feeds["b"]) == [[0.5], [1.5]]


@pytest.mark.parametrize("datatype", [kind for kind in DataType if kind is not DataType.BYTES])
def test_every_number_type_comes_through_unchanged(datatype):
    values = np.array([[1, 0], [0, 1]]).astype(datatype.dtype)
    chunk = raw_work(1, [row.tobytes() for row in values], template(width=2, datatype=datatype))

    array = assemble([Part(chunk, range(2))])["x"]
    ((share,),) = split([Part(chunk, range(2))], [array], has_rows=True)

    assert array.dtype == datatype.dtype
    assert share.raw == values.tobytes()


def test_texts_become_str_objects_in_the_request_s_shape():
    chunk = raw_work(1, [text_share("a", "é"), text_share("", "d\0")], template(width=2, datatype=DataType.BYTES))

    array = assemble([Part(chunk, [1, 0])])["x"]

    assert numbers(array) == [["", "d\0"], ["a", "é"]]


BROKEN = {
    "BOOL byte": (DataType.BOOL, b"\x01", b"\x02", "BAD_VALUE"),
    "NaN": (DataType.FP32, np.float32([1]).tobytes(), np.float32([np.nan]).tobytes(), "NOT_FINITE_INPUT"),
    "infinite half": (DataType.FP16, np.float16([1]).tobytes(), np.float16([np.inf]).tobytes(), "NOT_FINITE_INPUT"),
    "infinite bfloat": (DataType.BF16, b"\x80\x3f", b"\x80\x7f", "NOT_FINITE_INPUT"),
    "NaN bfloat": (DataType.BF16, b"\x80\x3f", b"\xc1\xff", "NOT_FINITE_INPUT"),
    "no UTF-8": (DataType.BYTES, text_share("a"), text_share(b"\xff"), "NOT_TEXT"),
    "cut prefix": (DataType.BYTES, text_share("a"), b"\x01\x00", "BYTE_COUNT"),
    "prefix past the end": (DataType.BYTES, text_share("a"), b"\xff\xff\xff\xffab", "BYTE_COUNT"),
    "too few elements": (DataType.BYTES, text_share("a"), b"", "BYTE_COUNT"),
    "too many elements": (DataType.BYTES, text_share("a"), text_share("b", "c"), "BYTE_COUNT"),
}


@pytest.mark.parametrize(("datatype", "good", "bad", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_row_is_found_and_its_neighbours_stay(datatype, good, bad, reason):
    chunk = raw_work(1, [good, bad, good], template(datatype=datatype))
    part = Part(chunk, range(3))

    with pytest.raises(InvalidInput):
        assemble([part], reject_non_finite=True)
    sound, broken = sift([part], reject_non_finite=True)

    assert [list(one.positions) for one in sound] == [[0, 2]]
    assert [(list(one.positions), error.reason) for one, error in broken] == [([1], reason)]
    assert len(assemble(sound)["x"]) == 2


def test_a_missing_element_cannot_be_lent_by_the_neighbour():
    chunk = raw_work(1, [b"", text_share("b", "c")], template(datatype=DataType.BYTES))

    _, broken = sift([Part(chunk, range(2))])

    assert [list(one.positions) for one, _ in broken] == [[0], [1]]


def test_non_finite_numbers_pass_where_they_are_not_refused():
    chunk = work(1, [[float("nan")]])

    assert np.isnan(assemble([Part(chunk, range(1))])["x"]).all()


def test_outputs_without_rows_belong_to_the_one_request():
    ((share,),) = split([Part(work(1), range(1))], [np.float32([1, 2, 3])], has_rows=False)

    assert (share.raw, share.shape) == (np.float32([1, 2, 3]).tobytes(), (3).to_bytes(8, "little"))


def test_text_outputs_carry_the_length_of_each_request():
    one, other = work(1, count=2), work(2, [[0.0, 0.0]], rows=2)
    array = np.array([["a"], ["bcd"], ["é"], [""]], dtype=object)

    (mine,), (theirs,) = split([Part(one, range(2)), Part(other, range(1))], [array], has_rows=True)

    assert _shares(mine, 2) == [text_share("a"), text_share("bcd")]
    assert split_bytes("y", 2, theirs.raw) == ["é".encode(), b""]


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_goes_in_comes_back_to_its_own_request(data):
    parts, expected = [], []
    for number in range(data.draw(st.integers(1, 4))):
        rows, count = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
        values = [[float(1000 * number + 10 * at + row) for row in range(rows)] for at in range(count)]
        chunk = work(number, values, rows=rows)
        start = data.draw(st.integers(0, count - 1))
        positions = data.draw(
            st.one_of(
                st.just(range(start, count)), st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True).map(sorted)
            )
        )
        parts.append(Part(chunk, positions))
        expected.append([np.float32(values[at]).tobytes() for at in positions])

    array = assemble(parts)["x"]
    shares = split(parts, [array], has_rows=True)

    assert len(array) == sum(part.rows for part in parts)
    assert [_shares(share, len(part.positions)) for part, (share,) in zip(parts, shares, strict=True)] == expected
