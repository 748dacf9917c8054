"""What is recognised is byte for byte what was checked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.oip.v2 import inference_pb2 as pb
from services.router.scan import scan
from services.router.templates import PREFIX_LIMIT_BYTES, TemplateBook

PAIR = Signature(
    inputs=(
        TensorSpec(name="a", datatype=DataType.FP32, shape=(-1, 2)),
        TensorSpec(name="b", datatype=DataType.INT64, shape=(-1, -1)),
        TensorSpec(name="t", datatype=DataType.BYTES, shape=(-1,), optional=True),
    ),
    outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1,)), TensorSpec(name="z", datatype=DataType.FP32, shape=(-1,))),
    max_batch_size=8,
)


def request(rows: int = 1, width: int = 1, *, order: str = "ab", fill: int = 1, outputs: tuple[str, ...] = ()) -> pb.ModelInferRequest:
    arrays = {"a": ("FP32", np.full((rows, 2), fill, "<f4")), "b": ("INT64", np.full((rows, width), -fill, "<i8"))}
    asked = pb.ModelInferRequest(model_name="m")
    for name in order:
        asked.inputs.add(name=name, datatype=arrays[name][0], shape=arrays[name][1].shape)
        asked.raw_input_contents.append(arrays[name][1].tobytes())
    for name in outputs:
        asked.outputs.add(name=name)
    return asked


def start_of(payload: bytes) -> int:
    head = scan(payload)
    assert head is not None
    return head[2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["ab", "ba"]), st.integers(0, 9)), max_size=12))
def test_a_recognised_request_yields_what_a_parse_would(asked: list[tuple[int, int, str, int]]):
    book = TemplateBook(PAIR)
    for rows, width, order, fill in asked:
        one = request(rows, width, order=order, fill=fill)
        payload = one.SerializeToString()
        found = book.recognise(payload, start_of(payload)) or book.read(one, payload, start_of(payload))
        learnt, parts = found

        assert parts == [np.full((rows, 2), fill, "<f4").tobytes(), np.full((rows, width), -fill, "<i8").tobytes()]
        assert learnt.template.rows == rows
        assert learnt.template.shapes == ((rows, 2), (rows, width))
        assert learnt.template.input_positions == (0, 1)


def test_a_long_description_is_not_remembered():
    book = TemplateBook(PAIR)
    for name in ("k" * 100, "k" * PREFIX_LIMIT_BYTES):
        asked = request()
        asked.inputs[0].parameters[name].bool_param = True
        payload = asked.SerializeToString()
        book.read(asked, payload, start_of(payload))

        assert (book.recognise(payload, start_of(payload)) is not None) == (len(name) == 100)


def test_the_second_request_of_a_shape_is_recognised():
    book, payload = TemplateBook(PAIR), request(fill=1).SerializeToString()
    learnt, _ = book.read(request(fill=1), payload, start_of(payload))
    again = request(fill=5).SerializeToString()
    found = book.recognise(again, start_of(again))

    assert found is not None
    assert found[0] is learnt


def test_other_names_types_shapes_or_outputs_are_not_recognised():
    book, payload = TemplateBook(PAIR), request().SerializeToString()
    book.read(request(), payload, start_of(payload))
    other = request()
    other.inputs[0].name = "c"
    other_bytes = other.SerializeToString()

    assert book.recognise(other_bytes, start_of(other_bytes)) is None
    for changed in (request(2), request(1, 2), request(order="ba"), request(outputs=("z",))):
        changed_bytes = changed.SerializeToString()
        assert book.recognise(changed_bytes, start_of(changed_bytes)) is None


def test_bytes_tensors_are_parsed_every_time_and_share_a_template():
    book = TemplateBook(PAIR)
    seen = []
    for text in (b"\1\0\0\0a", b"\2\0\0\0bc"):
        one = request()
        one.inputs.add(name="t", datatype="BYTES", shape=[1])
        one.raw_input_contents.append(text)
        payload = one.SerializeToString()
        assert book.recognise(payload, start_of(payload)) is None
        seen.append(book.read(one, payload, start_of(payload)))

    assert seen[0][0] is seen[1][0]
    assert [parts[2] for _, parts in seen] == [b"\1\0\0\0a", b"\2\0\0\0bc"]


def broken(**change: object) -> pb.ModelInferRequest:
    one = request()
    for name, value in change.items():
        if name == "raw":
            del one.raw_input_contents[:]
            one.raw_input_contents.extend(value)  # type: ignore[arg-type]
        elif name == "contents":
            one.inputs[0].contents.fp32_contents.extend(value)  # type: ignore[arg-type]
        elif name == "typed":
            del one.raw_input_contents[:]
            one.inputs[0].contents.int64_contents.extend([1, 2])
        elif name == "both":
            del one.raw_input_contents[:]
            one.inputs[0].contents.fp32_contents.extend([1, 2])
            one.inputs[0].contents.int_contents.append(1)
        elif name == "many":
            for _ in range(300):
                one.inputs.add()
    return one


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (broken(raw=[b"\0" * 8]), "BYTE_COUNT"),
        (broken(raw=[b"\0" * 8, b"\0" * 7]), "BYTE_COUNT"),
        (broken(raw=[b"\0" * 4, b"\0" * 8]), "BYTE_COUNT"),
        (broken(contents=[1.0, 2.0]), "BAD_VALUE"),
        (broken(typed=True), "DTYPE_MISMATCH"),
        (broken(both=True), "DTYPE_MISMATCH"),
        (broken(many=True), "BAD_VALUE"),
    ],
)
def test_contents_that_do_not_fit_are_refused(asked: pb.ModelInferRequest, reason: str):
    payload = asked.SerializeToString()
    with pytest.raises(InvalidInput) as refused:
        TemplateBook(PAIR).read(asked, payload, start_of(payload))

    assert refused.value.reason == reason


def test_values_outside_a_types_range_are_refused():
    small = Signature(inputs=(TensorSpec(name="i", datatype=DataType.INT8, shape=(-1,)),), outputs=PAIR.outputs, max_batch_size=8)
    asked = pb.ModelInferRequest(model_name="m")
    asked.inputs.add(name="i", datatype="INT8", shape=[1]).contents.int_contents.append(300)

    with pytest.raises(InvalidInput) as refused:
        TemplateBook(small).read(asked, b"", None)
    assert refused.value.reason == "BAD_VALUE"


def test_shared_memory_is_refused():
    asked = request()
    asked.inputs[0].parameters["shared_memory_region"].string_param = "secret-region"

    with pytest.raises(NotImplementedHere) as refused:
        TemplateBook(PAIR).read(asked, b"", None)
    assert "secret-region" not in refused.value.message


def test_requested_outputs_come_in_the_models_order():
    learnt, _ = TemplateBook(PAIR).read(request(outputs=("z", "y")), b"", None)

    assert learnt.template.outputs == (0, 1)
