"""Documents told by what is around their id and values mean what they mean when they are read in full."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import ServingError
from penstock.oip.v2 import inference_pb2 as pb
from services.router.json_holes import cut_out
from services.router.oip_json import OipJson

NAMES = st.sampled_from(["x", "data", "id", 'a"data"', "[", "]"])
IDS = st.sampled_from([None, "", "a", "b-2", "data", 'a"b', "\\", "ü", "[", "\x7f", 5, "z" * 256, "z" * 257])
NUMBERS = st.sampled_from([0, 1, -2, 0.5, 1e30, 1e39, True, "1", None, [1], {}])
LAYOUTS = st.sampled_from([(", ", ": "), (",", ":"), (" ,\n", " : ")])


@st.composite
def tensors(draw):
    count = draw(st.integers(0, 3))
    one = {"name": draw(NAMES), "datatype": draw(st.sampled_from(["FP32", "INT64", "BYTES"])), "shape": [draw(st.integers(0, 3))]}
    if draw(st.booleans()):
        one["shape"] = [count]
    values = draw(st.lists(NUMBERS if draw(st.booleans()) else st.integers(0, 9), min_size=count, max_size=count))
    extra = draw(st.sampled_from([{}, {"data": values}, {"data": values}, {"data": [values]}, {"parameters": {"binary_data_size": 0}}]))
    return one | extra if draw(st.booleans()) else extra | one


@st.composite
def documents(draw):
    inputs = draw(st.lists(tensors(), min_size=1, max_size=2))
    identity = draw(IDS)
    extra = draw(st.sampled_from([{}, {}, {"data": [1, 2]}, {"parameters": {"priority": 1}}, {"parameters": {"data": "["}}]))
    before = {} if identity is None else {"id": identity}
    document = draw(st.sampled_from([before | {"inputs": inputs} | extra, extra | {"inputs": inputs} | before, {"inputs": inputs}]))
    return json.dumps(document, separators=draw(LAYOUTS), ensure_ascii=draw(st.booleans())).encode()


def told(translator, body):
    try:
        return translator.translate("m", "", body, None)
    except ServingError as error:
        return type(error), error.message, error.reason, error.field


@given(st.lists(documents(), min_size=2, max_size=6))
def test_a_translator_that_has_seen_documents_says_what_a_new_one_says(bodies):
    translator = OipJson()
    for body in [*bodies, *reversed(bodies)]:
        assert told(translator, body) == told(OipJson(), body)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), st.text("az09- _", max_size=9))
def test_other_values_and_ids_in_the_same_document_are_read(values, identity):
    translator = OipJson()
    translator.translate("m", "", request("first", [1, 2, 3]), None)
    payload, _, request_id = translator.translate("m", "", request(identity, values), None)

    message = pb.ModelInferRequest.FromString(payload)
    assert message.id == request_id == identity
    assert np.frombuffer(message.raw_input_contents[0], np.float32).tolist() == values


def request(identity, values):
    return json.dumps({"id": identity, "inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": values}]}).encode()


@given(st.sampled_from([b"1]", b"[1", b"1,", b'"a"', b"1],[2", b"{}", b'1],"data":[1', b"\0", b"01", b"nan", b""]))
def test_what_is_no_flat_array_of_values_changes_nothing_around_it(inner):
    translator = OipJson()
    good = request("a", [7])
    translator.translate("m", "", good.replace(b"[3]", b"[1]"), None)
    bad = good.replace(b"[3]", b"[1]").replace(b"[7]", b"[" + inner + b"]")

    assert told(translator, bad) == told(OipJson(), bad)


def test_documents_that_differ_in_id_and_values_leave_the_same_bytes():
    assert cut_out(request("a", [1, 2, 3])).key == cut_out(request("bcd", [4.5, 6, 7])).key
    assert cut_out(request("a", [1, 2, 3])).key != cut_out(request("a", [1, 2, 3]).replace(b"FP32", b"FP64")).key
