import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput
from penstock.oip.v2 import inference_pb2 as pb
from services.router import oip_wire as wire
from services.router.scan import INPUTS, scan

TEXT = st.text(max_size=200)
VALUE = st.booleans() | st.text(max_size=20) | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
PARAMETERS = st.dictionaries(st.text(max_size=40), VALUE, max_size=4)
TENSORS = st.lists(
    st.tuples(st.text(max_size=300), st.lists(st.integers(0, 2**40), max_size=4), st.binary(max_size=300), PARAMETERS), max_size=3
)


@given(
    model=TEXT,
    version=TEXT,
    request_id=TEXT,
    parameters=PARAMETERS,
    tensors=TENSORS,
    outputs=st.lists(st.tuples(TEXT, PARAMETERS), max_size=3),
)
def test_the_generated_message_reads_what_is_written(model, version, request_id, parameters, tensors, outputs):
    head = [wire.address(model, version), wire.identity(request_id), wire.parameters(parameters)]
    head += [wire.tensor_with(name, "FP32", tuple(shape), given) for name, shape, _, given in tensors]
    head += [wire.wanted(name, given) for name, given in outputs]
    read = pb.ModelInferRequest.FromString(wire.infer_request(head, [raw for _, _, raw, _ in tensors]))

    assert (read.model_name, read.model_version, read.id) == (model, version, request_id)
    assert plain(read.parameters) == parameters
    assert [(one.name, one.datatype, list(one.shape), plain(one.parameters)) for one in read.inputs] == [
        (name, "FP32", shape, given) for name, shape, _, given in tensors
    ]
    assert list(read.raw_input_contents) == [raw for _, _, raw, _ in tensors]
    assert [(one.name, plain(one.parameters)) for one in read.outputs] == outputs


def test_the_layout_is_the_one_that_the_router_reads_without_parsing():
    head = (wire.address("m", "3"), wire.identity("a"), wire.parameters({"priority": 1}), wire.tensor("x", "FP32", (1, 2)))
    payload = wire.infer_request(head, [struct.pack("<2f", 1, 2)])

    found = scan(payload)

    assert found is not None
    assert found[3] == INPUTS
    assert payload == pb.ModelInferRequest.FromString(payload).SerializeToString()


def test_priorities_are_unsigned_and_other_integers_signed():
    read = pb.ModelInferRequest.FromString(wire.parameters({"priority": 2, "timeout": 5, "low": -1, "high": 2**63}))

    kinds = {name: value.WhichOneof("parameter_choice") for name, value in read.parameters.items()}
    assert kinds == {"priority": "uint64_param", "timeout": "int64_param", "low": "int64_param", "high": "uint64_param"}


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_integers_beyond_64_bits_are_refused(number):
    with pytest.raises(InvalidInput):
        wire.parameters({"a": number})


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_varints_are_protobufs(number):
    read = pb.ModelInferRequest.FromString(
        b"\x22" + wire.varint(len(entry := b"\x0a\x01a\x12" + field(b"\x28" + wire.varint(number)))) + entry
    )

    assert read.parameters["a"].uint64_param == number


def field(content):
    return wire.varint(len(content)) + content


def plain(parameters):
    return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}
