"""Calls to ModelInferRequest messages, and answers back to arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from penstock.client.prediction import Prediction
from penstock.contracts.errors import Internal, InvalidInput
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType, datatype_named, datatype_of, decode, encode, fp32_to_bf16
from penstock.oip.v2 import inference_pb2 as pb

Values = NDArray[Any] | Sequence[Any]
Inputs = Mapping[str, Values] | Values
_BF16_INFINITY = 0x7F80


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
    """Whether names or types are left to the model's signature: a bare value, plain lists, or bits that may be UINT16 or BF16."""
    return not isinstance(inputs, Mapping) or any(
        not isinstance(value, np.ndarray) or value.dtype == DataType.BF16.dtype for value in inputs.values()
    )


def named_arrays(inputs: Inputs, signature: Sequence[TensorSpec]) -> dict[str, tuple[DataType, NDArray[Any]]]:
    """Return the inputs as arrays with their wire types.

    Args:
        inputs: arrays or lists by name; one bare value for a model with one input. Lists hold values, for BF16 too; arrays of uint16
            are bit patterns where the model takes BF16.
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
    """Return the serialised request.

    Raises:
        InvalidInput: something that no request can hold.
    """
    try:
        request = pb.ModelInferRequest(model_name=call.model, model_version=call.version, id=call.request_id)
        if call.routing_key is not None:
            request.parameters["routing_key"].string_param = call.routing_key
        for name, array in arrays.items():
            request.inputs.add(name=name, datatype=array[0].value, shape=array[1].shape)
        for name in call.outputs:
            request.outputs.add(name=name)
    except (TypeError, ValueError) as error:
        raise InvalidInput("model, version, request_id, routing_key and names must be texts that UTF-8 can hold") from error
    if call.priority:
        _set(request, "priority", call.priority, is_unsigned=True)
    for name, value in call.parameters.items():
        _set(request, name, value)
    request.raw_input_contents.extend(bytes(encode(array, datatype)) for datatype, array in arrays.values())
    return request.SerializeToString()


def prediction_of(payload: bytes) -> Prediction:
    """Read an answer.

    Raises:
        Internal: the answer breaks the protocol.
    """
    try:
        response = pb.ModelInferResponse.FromString(payload)
        outputs = {
            one.name: decode(one.name, datatype_named(one.datatype, field=one.name), tuple(one.shape), raw)
            for one, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
    except (DecodeError, InvalidInput, ValueError) as error:
        raise Internal("the server's answer is no ModelInferResponse with raw contents for each output") from error
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
        array = _listed(value, datatype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(
            f"input {name!r}: the values are ragged or do not fit {datatype.value}", reason="BAD_VALUE", field=name
        ) from error
    return datatype, array


def _listed(values: Values, datatype: DataType) -> NDArray[Any]:
    """Return lists as an array; raises ValueError where NumPy would make other values of them than by rounding fractions."""
    if datatype is DataType.BYTES:
        return np.array(values, dtype=object)
    if not datatype.is_floating:
        array: NDArray[Any] = np.array(values, dtype=datatype.dtype)
        if array.tolist() != np.array(values, dtype=object).tolist():
            raise ValueError("not whole, or not of this kind")
        return array
    wide = np.array(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32 if datatype is DataType.BF16 else datatype.dtype)
    array = fp32_to_bf16(narrow) if datatype is DataType.BF16 else narrow
    if not np.array_equal(np.isinf(wide), (array & 0x7FFF) == _BF16_INFINITY if datatype is DataType.BF16 else np.isinf(array)):
        raise ValueError("out of range")
    return array


def _set(request: pb.ModelInferRequest, name: str, value: str | float, *, is_unsigned: bool = False) -> None:
    try:
        parameter = request.parameters[name]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int):
            if is_unsigned or value >= 2**63:
                parameter.uint64_param = value
            else:
                parameter.int64_param = value
        elif isinstance(value, float):
            parameter.double_param = value
        else:
            parameter.string_param = value
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"parameter {name[:64]!r} must be a text that UTF-8 can hold, a number of at most 64 bits or a bool",
            reason="BAD_PARAMETER",
            field=name[:64],
        ) from error
