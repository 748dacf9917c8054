"""Reads Triton's `ensemble_scheduling` into the same graph that graph.toml is.

platform: "ensemble"
max_batch_size: 8
input [{ name: "RAW" data_type: TYPE_FP32 dims: [3] }]
output [{ name: "SCORE" data_type: TYPE_FP32 dims: [3] }]
ensemble_scheduling { step [
  { model_name: "halving" model_version: -1 input_map { key: "x" value: "RAW" } output_map { key: "y" value: "half" } },
  { model_name: "adding" model_version: 2 input_map { key: "x" value: "half" } output_map { key: "y" value: "SCORE" } }
] }

A map's key is a tensor of the step's model, its value a tensor of the ensemble. Version -1 leaves it to the model's route. What Triton
refuses is refused here, too (ValidateEnsembleSchedulingConfig in triton-inference-server/core, src/model_config_utils.cc): a map that is
missing, a tensor that is written twice, by nobody, or for nobody, and steps that wait for one another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from google.protobuf import text_format

from penstock.contracts.graph_text import GraphVersion, from_json, signature_of
from penstock.contracts.model_config_checks import invalid, require
from penstock.contracts.model_config_proto import from_proto
from penstock.oip.v2 import model_config_pb2 as pb

ENSEMBLE_FILE = "config.pbtxt"
ENSEMBLE_PLATFORM = "ensemble"
LARGEST_BYTES = 1 << 20
_ROUTE_DECIDES = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """A step with its name in the graph."""

    name: str
    where: str
    """How a refusal names it."""
    said: pb.ModelEnsembling.Step


def says_ensemble(text: str) -> bool:
    """Whether a config.pbtxt is that of an ensemble; of one that cannot be read, whether it was meant to be."""
    try:
        proto = text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError:
        return "ensemble_scheduling" in text
    return proto.platform == ENSEMBLE_PLATFORM or proto.HasField("ensemble_scheduling")


def from_ensemble(text: str) -> GraphVersion:
    """Read the config.pbtxt of an ensemble.

    Raises:
        InvalidInput: with the line, when the text cannot be read; with step and tensor, when the ensemble could not run.
        NotImplementedHere: a setting that would change answers is not served.
    """
    require(len(text) <= LARGEST_BYTES, ENSEMBLE_FILE, f"has {len(text)} characters, the limit is {LARGEST_BYTES}")
    try:
        proto = text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        raise invalid(ENSEMBLE_FILE, str(error)) from error
    scheduling = pb.ModelEnsembling()
    scheduling.CopyFrom(proto.ensemble_scheduling)
    is_ensemble = proto.platform == ENSEMBLE_PLATFORM and not proto.backend
    require(is_ensemble, "platform", f"of what has ensemble_scheduling is {ENSEMBLE_PLATFORM!r}, and it has no backend")
    require(bool(scheduling.step), "ensemble_scheduling.step", "an ensemble needs steps")
    tree = _tree(proto, _stages(proto, scheduling.step))
    proto.ClearField("ensemble_scheduling")
    proto.ClearField("platform")
    config = from_proto(proto)
    signature_of(replace(config, version_policy=type(config)().version_policy))
    if scheduling.max_inflight_requests:
        config = replace(config, ignored=(*config.ignored, "ensemble_scheduling.max_inflight_requests"))
    version = from_json(json.dumps(tree))
    return replace(version, config=config, ensemble=scheduling.SerializeToString(deterministic=True))


def _tree(proto: pb.ModelConfig, stages: Sequence[_Stage]) -> dict[str, object]:
    """Return the ensemble in the words of graph.toml."""
    inputs = [one.name for one in proto.input]
    written = _written(stages, inputs)
    _check_read(proto, stages, written)
    _check_circles(stages, inputs)
    origins = {name: name for name in inputs} | {name: f"{stage.name}.{theirs}" for name, (stage, theirs) in written.items()}
    return {
        "max_batch_size": proto.max_batch_size,
        "input": [_tensor(one) for one in proto.input],
        "output": [_tensor(one) | {"from": origins[one.name]} for one in proto.output],
        "step": [
            {"name": stage.name, "model": stage.said.model_name}
            | ({} if stage.said.model_version == _ROUTE_DECIDES else {"version": str(stage.said.model_version)})
            | {"inputs": {theirs: origins[tensor] for theirs, tensor in sorted(stage.said.input_map.items())}}
            for stage in stages
        ],
    }


def _tensor(one: pb.ModelInput | pb.ModelOutput) -> dict[str, object]:
    return {"name": one.name, "data_type": pb.DataType.Name(one.data_type), "dims": list(one.dims)}


def _stages(proto: pb.ModelConfig, steps: Sequence[pb.ModelEnsembling.Step]) -> list[_Stage]:
    """Name the steps by their models, with a number where a model has several."""
    taken = {one.name.partition(".")[0] for one in proto.input}
    stages: list[_Stage] = []
    for index, step in enumerate(steps):
        where = f"ensemble_scheduling.step[{index}]"
        require(bool(step.model_name), where, "needs 'model_name'")
        where = f"{where} ({step.model_name[:80]})"
        require(not step.model_namespace, where, "'model_namespace' is not served here: models of one repository have different names")
        require(bool(step.input_map), where, "needs 'input_map'")
        require(bool(step.output_map), where, "needs 'output_map'")
        is_version = step.model_version > 0 or step.model_version == _ROUTE_DECIDES
        require(
            is_version, where, f"'model_version' {step.model_version} is neither a version nor -1, which leaves it to the model's route"
        )
        stages.append(_Stage(name=_name(step.model_name, taken), where=where, said=step))
        taken.add(stages[-1].name)
    return stages


def _name(model: str, taken: Collection[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", model)[:56]
    return next(name for name in (plain, *(f"{plain}_{number}" for number in range(2, 10_000))) if name not in taken)


def _written(stages: Sequence[_Stage], inputs: Collection[str]) -> dict[str, tuple[_Stage, str]]:
    """Return which step writes each tensor of the ensemble, and from which of its outputs."""
    written: dict[str, tuple[_Stage, str]] = {}
    for stage in stages:
        for theirs, tensor in sorted(stage.said.output_map.items()):
            require(bool(theirs) and bool(tensor), stage.where, f"'output_map' has no name beside {theirs or tensor!r}")
            place = f"{stage.where}.output_map[{theirs}]"
            require(tensor not in inputs, place, f"writes tensor {tensor!r}, which is an input of the ensemble")
            other = written[tensor][0].where if tensor in written else ""
            require(not other, place, f"writes tensor {tensor!r}, which {other} writes, too")
            written[tensor] = (stage, theirs)
    return written


def _check_read(proto: pb.ModelConfig, stages: Sequence[_Stage], written: Mapping[str, tuple[_Stage, str]]) -> None:
    known = {one.name for one in proto.input} | written.keys()
    for stage in stages:
        for theirs, tensor in sorted(stage.said.input_map.items()):
            require(bool(theirs), stage.where, f"'input_map' has no name beside {tensor!r}")
            place = f"{stage.where}.input_map[{theirs}]"
            require(tensor in known, place, f"reads tensor {tensor!r}, which is no input of the ensemble and in no 'output_map'")
    for one in proto.output:
        require(one.name in known, f"output.{one.name}", "is in no 'output_map' of a step, and no input of the ensemble")
    read = {tensor for stage in stages for tensor in stage.said.input_map.values()} | {one.name for one in proto.output}
    for tensor, (stage, theirs) in written.items():
        require(tensor in read, f"{stage.where}.output_map[{theirs}]", f"writes tensor {tensor!r}, which nothing reads: remove it")
    for one in proto.input:
        require(one.name in read, f"input.{one.name}", "is in no 'input_map' of a step: remove it")


def _check_circles(stages: Sequence[_Stage], inputs: Collection[str]) -> None:
    there, left = set(inputs), list(stages)
    while free := [stage for stage in left if there.issuperset(stage.said.input_map.values())]:
        there.update(tensor for stage in free for tensor in stage.said.output_map.values())
        left = [stage for stage in left if stage not in free]
    waits = [f"{stage.where} for tensor {min(set(stage.said.input_map.values()) - there)!r}" for stage in left]
    require(not waits, "ensemble_scheduling", f"these steps wait for one another in a circle: {', '.join(waits)}")
