import json

import numpy as np
import pytest

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from penstock.oip.v2 import inference_pb2 as pb
from services.router.oip_answer import read, render
from services.router.oip_json import AnswerForm, OipJson
from services.router.understanding import ID_LIMIT

RAW = np.array([1, 2, 3, 4], dtype=np.float32).tobytes()


def tensor(**more):
    return {"name": "x", "datatype": "FP32", "shape": [2, 2], **more}


def translate(document, tail=None, *, with_header=True, translator=None):
    body = json.dumps(document).encode()
    length = None if tail is None or not with_header else str(len(body)).encode()
    payload, form, request_id = (translator or OipJson()).translate("m", "3", body + (tail or b""), length)
    return pb.ModelInferRequest.FromString(payload), form, request_id


def test_json_values_and_binary_tensors_become_the_same_raw_contents():
    from_json, *_ = translate({"inputs": [tensor(data=[[1, 2], [3, 4]])]})
    from_binary, *_ = translate({"inputs": [tensor(parameters={"binary_data_size": 16})]}, RAW)

    assert from_json == from_binary
    assert (from_json.model_name, from_json.model_version) == ("m", "3")
    assert list(from_json.raw_input_contents) == [RAW]
    assert [(one.name, one.datatype, list(one.shape)) for one in from_json.inputs] == [("x", "FP32", [2, 2])]


def test_binary_and_json_inputs_may_be_mixed_and_keep_their_order():
    document = {
        "inputs": [
            tensor(name="a", parameters={"binary_data_size": 16}),
            tensor(name="b", data=[5, 6, 7, 8]),
            tensor(name="c", datatype="INT8", parameters={"binary_data_size": 4, "own": "kept"}),
        ]
    }

    request, *_ = translate(document, RAW + b"\x01\x02\x03\x04")

    assert list(request.raw_input_contents) == [RAW, np.array([5, 6, 7, 8], dtype=np.float32).tobytes(), b"\x01\x02\x03\x04"]
    assert {name: one.string_param for name, one in request.inputs[2].parameters.items()} == {"own": "kept"}


def test_ids_parameters_and_outputs_are_handed_on_and_what_only_http_knows_is_not():
    document = {
        "id": "a-1",
        "parameters": {"priority": 2, "timeout": 1000, "binary_data_output": True, "custom": "x"},
        "inputs": [tensor(data=[1, 2, 3, 4])],
        "outputs": [{"name": "y", "parameters": {"binary_data": False, "classification": 2}}, {"name": "z"}],
        "model_name": "ignored, as KServe's client sends it",
    }

    request, form, request_id = translate(document)

    assert request_id == request.id == "a-1"
    assert set(request.parameters) == {"priority", "timeout", "custom"}
    assert request.parameters["priority"].uint64_param == 2
    assert [one.name for one in request.outputs] == ["y", "z"]
    assert {name: one.int64_param for name, one in request.outputs[0].parameters.items()} == {"classification": 2}
    assert (form.is_binary("y"), form.is_binary("z")) == (False, True)


def test_binary_output_is_asked_for_in_general_or_by_name():
    inputs = [tensor(data=[1, 2, 3, 4])]
    _, nothing, _ = translate({"inputs": inputs})
    _, everything, _ = translate({"inputs": inputs, "parameters": {"binary_data_output": True}})
    _, one, _ = translate({"inputs": inputs, "outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}]})

    assert [form.is_binary("y") for form in (nothing, everything, one)] == [False, True, True]
    assert not one.is_binary("z")


def test_a_remembered_description_gives_what_a_new_one_gives():
    translator = OipJson()
    document = {"inputs": [tensor(parameters={"binary_data_size": 16})], "parameters": {"priority": 1}}
    first = translate(document, RAW, translator=translator)
    other = bytes(reversed(RAW))
    second = translate(document, other, translator=translator)

    assert second == translate(document, other)
    assert first[0].raw_input_contents[0] == RAW
    with pytest.raises(InvalidInput):
        translate(document, RAW + b"x", translator=translator)
    with pytest.raises(InvalidInput):
        translate(document, b"", translator=translator)


def test_a_description_is_remembered_for_whatever_model_is_addressed():
    translator = OipJson()
    body = json.dumps({"inputs": [tensor(parameters={"binary_data_size": 16})]}).encode()
    length = str(len(body)).encode()
    translator.translate("first", "", body + RAW, length)

    payload, *_ = translator.translate("second", "7", body + RAW, length)

    assert (pb.ModelInferRequest.FromString(payload).model_name, pb.ModelInferRequest.FromString(payload).model_version) == ("second", "7")


def test_ids_and_json_values_are_not_mistaken_for_remembered_ones():
    translator = OipJson()
    for number in range(3):
        request, _, request_id = translate(
            {"id": str(number), "inputs": [tensor(parameters={"binary_data_size": 16})]}, RAW, translator=translator
        )
        assert request.id == request_id == str(number)
        request, *_ = translate({"inputs": [tensor(data=[number] * 4)]}, b"", translator=translator)
        assert np.frombuffer(request.raw_input_contents[0], dtype=np.float32)[0] == number


def test_empty_and_variable_tensors_are_tensors():
    request, *_ = translate(
        {"inputs": [tensor(shape=[0, 2], parameters={"binary_data_size": 0}), tensor(name="t", datatype="BYTES", shape=[1], data=["ab"])]},
        b"",
    )

    assert list(request.raw_input_contents) == [b"", b"\x02\x00\x00\x00ab"]


@pytest.mark.parametrize("field", ["shared_memory_region", "shared_memory_byte_size"])
@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_shared_memory_is_refused_by_name(field, where):
    document = {"inputs": [tensor(data=[1, 2, 3, 4])], "outputs": [{"name": "y"}]}
    document[where][0]["parameters"] = {field: 1}
    with pytest.raises(NotImplementedHere) as refused:
        translate(document)

    assert refused.value.reason == "SHARED_MEMORY"


def response(*outputs, **more):
    answer = pb.ModelInferResponse(model_name="m", model_version="3", **more)
    for name, datatype, shape, raw in outputs:
        answer.outputs.add(name=name, datatype=datatype, shape=shape)
        answer.raw_output_contents.append(raw)
    return answer.SerializeToString()


def test_an_answer_is_json_with_flat_values():
    body, length = render(response(("y", "FP32", [2, 2], RAW), ("t", "BYTES", [1], b"\x02\x00\x00\x00ab"), id="a"), AnswerForm())

    assert length is None
    assert json.loads(body) == {
        "id": "a",
        "model_name": "m",
        "model_version": "3",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]},
            {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["ab"]},
        ],
    }


def test_a_binary_answer_says_where_its_json_ends_and_how_long_each_tensor_is():
    body, length = render(
        response(("y", "FP32", [2, 2], RAW), ("z", "INT8", [1], b"\x07"), ("w", "INT8", [2], b"\x01\x02")),
        AnswerForm(default_is_binary=True, by_output={"z": False}),
    )
    document = json.loads(body[:length])

    assert body[length:] == RAW + b"\x01\x02"
    assert [one.get("parameters") for one in document["outputs"]] == [{"binary_data_size": 16}, None, {"binary_data_size": 2}]
    assert document["outputs"][1]["data"] == [7]


def test_parameters_of_an_answer_are_told():
    answer = pb.ModelInferResponse.FromString(response(("y", "INT8", [1], b"\x07")))
    answer.parameters["sequence_id"].int64_param = 5
    answer.outputs[0].parameters["own"].string_param = "x"
    document = json.loads(render(answer.SerializeToString(), AnswerForm())[0])

    assert document["parameters"] == {"sequence_id": 5}
    assert document["outputs"][0]["parameters"] == {"own": "x"}


def test_many_answers_of_one_shape_are_each_their_own():
    for number in range(5):
        raw = np.full((2, 2), number, dtype=np.float32).tobytes()
        body, _ = render(response(("y", "FP32", [2, 2], raw), id=f"r{number}"), AnswerForm())
        assert json.loads(body)["id"] == f"r{number}"
        assert json.loads(body)["outputs"][0]["data"] == [number] * 4


def test_an_answer_is_read_as_arrays():
    answer = read(response(("y", "FP32", [2, 2], RAW), ("t", "BYTES", [1], b"\x02\x00\x00\x00ab"), id="a"))

    assert (answer.model, answer.version, answer.request_id) == ("m", "3", "a")
    assert answer.outputs["y"].tolist() == [[1, 2], [3, 4]]
    assert answer.outputs["t"].tolist() == ["ab"]


@pytest.mark.parametrize("identity", ["z" * ID_LIMIT, "é" * ID_LIMIT])
def test_an_id_may_be_as_long_as_one_that_comes_over_grpc(identity):
    assert translate({"id": identity, "inputs": [tensor(data=[1, 2, 3, 4])]})[2] == identity

    with pytest.raises(InvalidInput, match=str(ID_LIMIT)):
        translate({"id": identity + "z", "inputs": [tensor(data=[1, 2, 3, 4])]})
