"""The graph that a version's configuration carries, where the version is one."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.message import DecodeError

from penstock.contracts.errors import ServingError
from penstock.contracts.graph_text import GraphVersion, from_json
from penstock.contracts.graphs import Graph
from penstock.contracts.model_config_proto import to_proto
from penstock.oip.v2 import model_config_pb2 as pb

GRAPH_PARAMETER = "penstock.graph"
"""Model parameter that holds a graph as JSON."""

GRAPH_PLATFORM = "ensemble"
"""What the configuration of a graph says in `platform`, as Triton's ensembles do."""

_MARK = GRAPH_PARAMETER.encode()


def graph_config(version: GraphVersion) -> bytes:
    """Return Triton's message for a graph: the steps that are models as an ensemble's, and the whole as a parameter."""
    proto = to_proto(version.config)
    proto.platform, proto.backend = GRAPH_PLATFORM, ""
    proto.ClearField("instance_group")
    if version.ensemble:
        proto.ensemble_scheduling.MergeFromString(version.ensemble)
    elif not proto.HasField("dynamic_batching"):
        for step in version.graph.steps:
            if step.model:
                listed = proto.ensemble_scheduling.step.add(model_name=step.model)
                listed.model_version = int(step.version) if step.version.isdecimal() else -1
                listed.input_map.update({name: str(source) for name, source in step.inputs.items()})
                listed.output_map.update({name: f"{step.name}.{name}" for name in version.graph.wanted(step.name)})
    proto.parameters[GRAPH_PARAMETER].string_value = version.text
    return proto.SerializeToString(deterministic=True)


@lru_cache(maxsize=1024)
def declared_graph(model_config: bytes) -> Graph | None:
    """Return the graph that a serialised ModelConfig carries; None when it carries none, or none that can be read here."""
    if _MARK not in model_config:
        return None
    try:
        text = pb.ModelConfig.FromString(model_config).parameters[GRAPH_PARAMETER].string_value
        return from_json(text).graph if text else None
    except (DecodeError, ServingError):
        return None
