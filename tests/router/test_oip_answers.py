import json
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock.oip.v2 import inference_pb2 as pb
from services.router.oip_answer import render
from services.router.oip_answers import OipAnswers
from services.router.oip_json import AnswerForm

KINDS = ["FP32", "INT64", "BOOL", "FP16", "BF16", "BYTES", "UINT8"]
NUMPY = {"FP32": "<f4", "INT64": "<i8", "BOOL": "?", "FP16": "<f2", "BF16": "<u2", "UINT8": "u1"}
NAMES = st.text(max_size=12)
OUTPUTS = st.lists(
    st.tuples(NAMES, st.sampled_from(KINDS), st.lists(st.integers(0, 3), max_size=2)), min_size=1, max_size=3, unique_by=lambda one: one[0]
)


def raw_of(kind: str, shape: list[int], seed: int) -> bytes:
    count = int(np.prod(shape, dtype=int))
    if kind == "BYTES":
        return b"".join(struct.pack("<I", 1) + b"%d" % (seed % 10) for _ in range(count))
    return np.full(count, seed % 2 if kind == "BOOL" else seed % 100, dtype=NUMPY[kind]).tobytes()


def answer(outputs, seed: int, request_id: str, *, id_first: bool = True) -> bytes:
    response = pb.ModelInferResponse(model_name="m", model_version="3")
    for name, kind, shape in outputs:
        response.outputs.add(name=name, datatype=kind, shape=shape)
        response.raw_output_contents.append(raw_of(kind, shape, seed))
    if not id_first:
        response.id = request_id
        return response.SerializeToString()
    return pb.ModelInferResponse(id=request_id).SerializeToString() + response.SerializeToString()


def told(rendered: tuple[bytes, int | None]) -> tuple[object, bytes, bool]:
    body, length = rendered
    return json.loads(body[:length]), b"" if length is None else body[length:], length is None


@given(
    st.lists(st.tuples(OUTPUTS, NAMES | st.text(min_size=130, max_size=140), st.booleans()), min_size=1, max_size=4),
    st.sets(st.integers(0, 2)),
    st.booleans(),
)
def test_a_remembered_kind_writes_what_parsing_writes(requests, binary, default):
    answers = OipAnswers()
    for round_number in range(3):
        for outputs, request_id, id_first in requests:
            by_output = {name: True for index, (name, _, _) in enumerate(outputs) if index in binary}
            form = AnswerForm(default_is_binary=default, by_output=by_output or None)
            payload = answer(outputs, round_number, request_id, id_first=id_first)

            assert told(answers.render(payload, form)) == told(render(payload, form))


def test_answers_of_equal_length_are_told_apart():
    answers = OipAnswers()
    kinds = [[("a", "FP32", [2])], [("b", "FP32", [2])], [("a", "INT64", [1])], [("a", "FP32", [2]), ("c", "FP32", [0])]]
    for _ in range(3):
        for outputs in kinds:
            payload = answer(outputs, 1, "id")
            assert told(answers.render(payload, AnswerForm())) == told(render(payload, AnswerForm()))


def test_only_so_many_kinds_are_remembered():
    answers = OipAnswers()
    for number in range(3000):
        payload = answer([(f"o{number}", "INT64", [1])], 7, "")
        assert json.loads(answers.render(payload, AnswerForm())[0])["outputs"][0]["data"] == [7]

    assert sum(map(len, answers._kinds.values())) <= 1024
