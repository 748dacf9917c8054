"""Calls to ModelInferRequest messages, and answers back to arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.client.prediction import Prediction
from penstock.contracts.errors import Internal, InvalidInput
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType, datatype_named, datatype_of, decode, encode
from penstock.oip.v2 import inference_pb2 as pb

Values = NDArray[Any] | Sequence[Any]
Inputs = Mapping[str, Values] | Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked."""

    model: str
    inputs: Inputs
    version: str = ""
    outputs: Sequence[str] = ()
    request_id: str = ""
    routing_key: str | None = None
    priority: int = 0
    parameters: Mapping[str, str | int | bool | float] = field(default_factory=dict[str, "str | int | bool | float"])


def needs_signature(inputs: Inputs) -> bool:
    """Whether names or types are left to the model's signature: a bare value, or plain lists."""
    return not isinstance(inputs, Mapping) or any(not isinstance(value, np.ndarray) for value in inputs.values())


def named_arrays(inputs: Inputs, signature: Sequence[TensorSpec]) -> dict[str, tuple[DataType, NDArray[Any]]]:
    """Return the inputs as arrays with their wire types.

    Args:
        inputs: arrays or lists by name; one bare value for a model with one input.
        signature: the model's inputs; may be empty when `needs_signature` is false.

    Raises:
        InvalidInput: a bare value for several inputs, an unknown name, or values that do not fit the type.
    """
    if not isinstance(inputs, Mapping):
        required = [spec for spec in signature if not spec.optional]
        if len(required) != 1:
            names = ", ".join(spec.name for spec in signature)
            raise InvalidInput(f"the model has the inputs {names}: pass a mapping from names to values", reason="MISSING_INPUT")
        inputs = {required[0].name: inputs}
    types = {spec.name: spec.datatype for spec in signature}
    return {name: _typed(name, value, types.get(name)) for name, value in inputs.items()}


def request_of(call: Call, arrays: Mapping[str, tuple[DataType, NDArray[Any]]]) -> bytes:
    """Return the serialised request."""
    request = pb.ModelInferRequest(model_name=call.model, model_version=call.version, id=call.request_id)
    if call.routing_key is not None:
        request.parameters["routing_key"].string_param = call.routing_key
    if call.priority:
        request.parameters["priority"].uint64_param = call.priority
    for name, value in call.parameters.items():
        _set(request.parameters[name], value)
    for name, (datatype, array) in arrays.items():
        request.inputs.add(name=name, datatype=datatype.value, shape=array.shape)
        request.raw_input_contents.append(bytes(encode(array, datatype)))
    for name in call.outputs:
        request.outputs.add(name=name)
    return request.SerializeToString()


def prediction_of(payload: bytes) -> Prediction:
    """Read an answer.

    Raises:
        Internal: the answer breaks the protocol.
    """
    response = pb.ModelInferResponse.FromString(payload)
    if len(response.raw_output_contents) != len(response.outputs):
        raise Internal("the server's answer has a different number of outputs and contents")
    outputs: dict[str, NDArray[Any]] = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        outputs[output.name] = decode(output.name, datatype_named(output.datatype, field=output.name), tuple(output.shape), raw)
    return Prediction(model=response.model_name, version=response.model_version, outputs=outputs, request_id=response.id)


def signature_of(metadata: pb.ModelMetadataResponse) -> tuple[TensorSpec, ...]:
    """Return a model's inputs."""
    return tuple(
        TensorSpec(name=one.name, datatype=datatype_named(one.datatype, field=one.name), shape=tuple(one.shape)) for one in metadata.inputs
    )


def _typed(name: str, value: Values, datatype: DataType | None) -> tuple[DataType, NDArray[Any]]:
    if isinstance(value, np.ndarray):
        return datatype if datatype is DataType.BF16 and value.dtype == np.uint16 else datatype_of(value), value
    if datatype is None:
        raise InvalidInput(f"the model has no input {name!r}", reason="UNKNOWN_INPUT", field=name)
    try:
        array = np.array(value, dtype=object) if datatype is DataType.BYTES else np.array(value, dtype=datatype.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(
            f"input {name!r}: the values are ragged or do not fit {datatype.value}", reason="BAD_VALUE", field=name
        ) from error
    return datatype, array


def _set(parameter: pb.InferParameter, value: str | float) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value
