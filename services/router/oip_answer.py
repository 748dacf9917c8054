"""Turns ModelInferResponse bytes into what HTTP clients read: JSON, with tensors as values or as bytes behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.contracts.errors import OutputContract
from penstock.contracts.tensors import AnyArray, DataType
from penstock.oip.v2 import inference_pb2 as pb
from services.router.json_tensors import array_of, dumps, plain
from services.router.oip_json import AnswerForm

Response = pb.ModelInferResponse
"""The parsed form; here is the one place of the HTTP face that knows the generated message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered, output by output."""

    model: str
    version: str
    request_id: str
    outputs: dict[str, AnyArray]
    """By name, in the order of the response; BF16 widened, BYTES as `str`."""


def parse(payload: bytes) -> Response:
    """Return the message."""
    return Response.FromString(payload)


def render(payload: bytes, form: AnswerForm) -> tuple[bytes, int | None]:
    """Return the body of an OIP answer, and the length of its JSON when tensors follow it.

    Raises:
        OutputContract: the response does not hold one entry of raw contents an output.
        InvalidInput: an output that JSON cannot hold was not asked for in binary form.
    """
    response = parse(payload)
    blobs: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for output, raw in zip(response.outputs, _raws(response), strict=True):
        name, shape = output.name, list(output.shape)
        described: dict[str, Any] = {"name": name, "datatype": output.datatype, "shape": shape}
        given = parameters_of(output.parameters) if output.parameters else {}
        if form.is_binary(name):
            given["binary_data_size"] = len(raw)
            blobs.append(raw)
        else:
            described["data"] = plain(array_of(name, DataType(output.datatype), tuple(shape), raw).reshape(-1))
        if given:
            described["parameters"] = given
        outputs.append(described)
    document: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version, "outputs": outputs}
    if response.id:
        document["id"] = response.id
    if response.parameters:
        document["parameters"] = parameters_of(response.parameters)
    if not blobs:
        return dumps(document), None
    head = dumps(document)
    return b"".join([head, *blobs]), len(head)


def read(payload: bytes) -> Answer:
    """Return the outputs of a response as arrays.

    Raises:
        OutputContract: the response does not hold one entry of raw contents an output.
        InvalidInput: BYTES that are not UTF-8; JSON cannot hold them.
    """
    response = parse(payload)
    outputs = {
        output.name: array_of(output.name, DataType(output.datatype), tuple(output.shape), raw)
        for output, raw in zip(response.outputs, _raws(response), strict=True)
    }
    return Answer(response.model_name, response.model_version, response.id, outputs)


def parameters_of(given: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    """Return parameters as JSON values."""
    return {name: getattr(value, value.WhichOneof("parameter_choice") or "bool_param") for name, value in given.items()}


def as_json(document: Any) -> bytes:
    """Return the text of a document without arrays."""
    return orjson.dumps(document)


def _raws(response: Response) -> list[bytes]:
    raws = list(response.raw_output_contents)
    if len(raws) != len(response.outputs):
        raise OutputContract(f"{len(raws)} entries of raw contents for {len(response.outputs)} outputs")
    return raws
