"""What a model's file says about its inputs and outputs, as ONNX Runtime reports it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.contracts.signature import ANY
from penstock.contracts.tensors import DataType

_TYPES = {
    "tensor(bool)": DataType.BOOL,
    "tensor(uint8)": DataType.UINT8,
    "tensor(uint16)": DataType.UINT16,
    "tensor(uint32)": DataType.UINT32,
    "tensor(uint64)": DataType.UINT64,
    "tensor(int8)": DataType.INT8,
    "tensor(int16)": DataType.INT16,
    "tensor(int32)": DataType.INT32,
    "tensor(int64)": DataType.INT64,
    "tensor(float16)": DataType.FP16,
    "tensor(bfloat16)": DataType.BF16,
    "tensor(float)": DataType.FP32,
    "tensor(double)": DataType.FP64,
    "tensor(string)": DataType.BYTES,
}


class RuntimeTensor(Protocol):
    """How ONNX Runtime describes an input or output (`NodeArg`)."""

    @property
    def name(self) -> str:
        """The tensor's name."""
        ...

    @property
    def type(self) -> str:
        """For example `tensor(float)`."""
        ...

    @property
    def shape(self) -> Sequence[int | str | None]:
        """Sizes; a name or None where any size is possible."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTensor:
    """One input or output of the graph."""

    name: str
    onnx_type: str
    """For example `tensor(float)`; `seq(…)`, `map(…)` and exotic numbers have no data type."""
    shape: tuple[int | str | None, ...]
    """Sizes; a name or None where any size is possible. The batch dimension is one of them."""
    optional: bool = False
    """The graph has a value of its own for it."""
    is_text: bool = False
    """Elements must be valid UTF-8."""

    @property
    def datatype(self) -> DataType | None:
        """The data type on the wire; None when it has none."""
        return _TYPES.get(self.onnx_type)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape with -1 for any size."""
        return tuple(size if isinstance(size, int) and size >= 0 else ANY for size in self.shape)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Name of each dimension of variable size, "" for the others."""
        return tuple(size if isinstance(size, str) else "" for size in self.shape)

    @classmethod
    def of(cls, tensor: RuntimeTensor, *, optional: bool = False) -> GraphTensor:
        """Take over what ONNX Runtime reports."""
        return cls(name=tensor.name, onnx_type=tensor.type, shape=tuple(tensor.shape), optional=optional)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSignature:
    """The inputs and outputs of a graph, in its order."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]

    @classmethod
    def of(
        cls, inputs: Iterable[RuntimeTensor], outputs: Iterable[RuntimeTensor], overridable: Iterable[RuntimeTensor] = ()
    ) -> GraphSignature:
        """Take over what a session reports: `get_inputs()`, `get_outputs()` and `get_overridable_initializers()`."""
        required = [GraphTensor.of(tensor) for tensor in inputs]
        optional = [GraphTensor.of(tensor, optional=True) for tensor in overridable]
        return cls(inputs=(*required, *optional), outputs=tuple(GraphTensor.of(tensor) for tensor in outputs))


def has_batch_dimension(graph: Iterable[GraphTensor]) -> bool:
    """Whether the first dimension of all tensors can count rows.

    It can when it is of any size in every tensor, and no other dimension bears its name: `[N, N]` is a matrix of pairs, not a batch.
    Exporters name the first dimensions of different tensors differently, so equal names are not asked for.
    """
    tensors = list(graph)
    if not tensors or any(not tensor.shape or tensor.sizes[0] != ANY for tensor in tensors):
        return False
    first = {tensor.symbols[0] for tensor in tensors} - {""}
    return all(symbol not in first for tensor in tensors for symbol in tensor.symbols[1:])
