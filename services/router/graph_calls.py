"""The steps of a graph as requests, and what they answered: OIP bytes on both sides, like everything that goes through the router."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from google.protobuf.message import DecodeError

from penstock.contracts.errors import Internal
from penstock.contracts.graphs import Step
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import DataType, datatype_named
from penstock.oip.v2 import inference_pb2 as pb
from services.mesh.chunk import Template
from services.mesh.graph_rows import Rows
from services.mesh.graph_tensors import Parameter, TensorValue
from services.router.scan import is_in_order, parse, scan

OWN_PARAMETERS = frozenset({"timeout", "binary_data_output", "triton_enable_empty_final_response"})
"""Parameters that are about the caller's answer or its whole time, and so not about a step."""

Head = pb.ModelInferRequest
"""What stands in a request before its inputs."""

STEP_PARAMETER = "penstock.step."
"""Start of an answer's parameters that say who answered each step."""

ROWS_SUFFIX = ".rows"
"""End of the parameter that says for how many rows it did, where not for all; no step has a dot in its name."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the caller is told about a step."""

    by: str
    """Who answered it, or why nobody did."""
    rows: Rows | None = None
    """For which rows of the request; None for all, or none."""


def head_of(payload: bytes) -> Head:
    """Return what stands in a request before its inputs: id and parameters; the request was understood before. None is empty."""
    found = scan(payload)
    head = parse(payload[: found[2]] if found is not None and is_in_order(payload, found[2]) else payload)
    for name in OWN_PARAMETERS.intersection(head.parameters):
        del head.parameters[name]
    return head


def parameter_of(head: Head) -> Callable[[str], Parameter | None]:
    """Return what looks up parameters of a request."""

    def found(name: str) -> Parameter | None:
        kind = head.parameters[name].WhichOneof("parameter_choice") if name in head.parameters else None
        return None if kind is None else getattr(head.parameters[name], kind)

    return found


def inputs_of(signature: Signature, template: Template, parts: Sequence[bytes]) -> dict[str, TensorValue]:
    """Return a request's inputs by their names; `parts` are the bytes of each, in the template's order."""
    specs = [signature.inputs[position] for position in template.input_positions]
    return {
        spec.name: TensorValue(spec.datatype, shape, bytes(raw)) for spec, shape, raw in zip(specs, template.shapes, parts, strict=True)
    }


def step_payload(step: Step, head: Head, tensors: Mapping[str, TensorValue], wanted: Sequence[str]) -> bytes:
    """Return a step as a request: in its caller's words but for model, version, tensors and the outputs that anything reads."""
    request = pb.ModelInferRequest(model_name=step.model, model_version=step.version, id=head.id)
    for name in sorted(head.parameters):
        request.parameters[name].CopyFrom(head.parameters[name])
    for name, value in tensors.items():
        request.inputs.add(name=name, datatype=value.datatype.value, shape=value.shape)
        request.raw_input_contents.append(value.raw)
    for name in wanted:
        request.outputs.add(name=name)
    return request.SerializeToString(deterministic=True)


def step_answer(payload: bytes) -> tuple[str, dict[str, TensorValue]]:
    """Return who answered (`model@version`, or `declared` by a route), and what.

    Raises:
        Internal: it is no answer with raw contents.
    """
    try:
        response = pb.ModelInferResponse.FromString(payload)
    except DecodeError as error:
        raise Internal("internal error") from error
    if len(response.outputs) != len(response.raw_output_contents):
        raise Internal("internal error")
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    tensors = {one.name: _value(datatype_named(one.datatype), tuple(one.shape), raw) for one, raw in pairs}
    # What a route declares is no version's answer.
    return f"{response.model_name}@{response.model_version}" if response.model_version else "declared", tensors


def told_steps(told: Mapping[str, Told]) -> bytes:
    """Return the parameters of an answer that say who answered each step; they go before or behind any ModelInferResponse."""
    response = pb.ModelInferResponse()
    for name, one in told.items():
        response.parameters[STEP_PARAMETER + name].string_param = one.by
        if one.rows is not None and not one.rows.is_all:
            response.parameters[f"{STEP_PARAMETER}{name}{ROWS_SUFFIX}"].int64_param = one.rows.count
    return response.SerializeToString(deterministic=True)


def _value(datatype: DataType, shape: tuple[int, ...], raw: bytes) -> TensorValue:
    if datatype.itemsize is not None and len(raw) != prod(shape) * datatype.itemsize:
        raise Internal("internal error")
    return TensorValue(datatype, shape, raw)
