"""Heads of requests read without parsing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.oip.v2 import inference_pb2 as pb
from services.router.scan import INPUTS, NO_PARAMETERS, id_field, parameters_in, scan

NAMES = st.text(alphabet="abcdefgh.-_", min_size=1, max_size=40)


@given(NAMES, st.one_of(st.just(""), NAMES), st.one_of(st.just(""), NAMES), st.booleans())
def test_a_head_is_cut_where_the_fields_end(model: str, version: str, identity: str, has_parameter: bool):
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=identity)
    if has_parameter:
        request.parameters["timeout"].int64_param = 7
    request.inputs.add(name="x", datatype="FP32", shape=[1])
    payload = request.SerializeToString()
    head = scan(payload)

    assert head is not None
    key_end, id_end, start, tag = head
    assert pb.ModelInferRequest.FromString(payload[:key_end]) == pb.ModelInferRequest(model_name=model, model_version=version)
    assert payload[key_end:id_end] == id_field(identity)
    assert parameters_in(payload[id_end:start]).timeout_seconds == (7e-6 if has_parameter else None)
    assert tag == INPUTS


@given(st.binary(max_size=60))
def test_any_bytes_are_scanned_or_left_to_the_parser(payload: bytes):
    head = scan(payload)

    if head is not None:
        key_end, id_end, start, _ = head
        assert 0 < key_end <= id_end <= start <= len(payload)


def test_long_fields_are_left_to_the_parser():
    request = pb.ModelInferRequest(model_name="m", id="x" * 200)
    request.inputs.add(name="x")

    assert scan(request.SerializeToString()) is None


def test_no_parameters_mean_nothing():
    assert parameters_in(b"") == NO_PARAMETERS
