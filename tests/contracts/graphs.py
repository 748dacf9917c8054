"""Graphs and completed models that several tests use."""

from __future__ import annotations

from penstock.contracts.model_config import CompletedModel, GraphSignature, GraphTensor, ModelConfig, complete


def tensor(name: str, *shape: int | str | None, kind: str = "float", optional: bool = False) -> GraphTensor:
    return GraphTensor(name=name, onnx_type=f"tensor({kind})", shape=shape, optional=optional)


def graph(*tensors: GraphTensor, outputs: tuple[GraphTensor, ...] | None = None) -> GraphSignature:
    return GraphSignature(inputs=tensors, outputs=(tensor("y", None, 2),) if outputs is None else outputs)


ROWS = graph(tensor("x", "N", 30))
FIXED = graph(tensor("x", 1, 30), outputs=(tensor("y", 1, 2),))


def completed(config: ModelConfig | None, of: GraphSignature = ROWS, **options: object) -> CompletedModel:
    return complete(config, of, name="m", **options)  # type: ignore[arg-type]
