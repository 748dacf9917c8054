"""What a version takes and gives: the tensors of its signature and the checks of a request against it.

Shapes include the batch dimension. A size of -1 stands for any size; two dimensions that carry the same symbol must have the same
size within a request. With `max_batch_size` above 0 the first dimension of every tensor counts rows, is the same for all inputs
and is at most `max_batch_size`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.contracts.errors import InvalidInput
from penstock.contracts.tensors import DataType, element_count

ANY = -1
"""A dimension of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, type and shape of one input or output."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    symbols: tuple[str, ...] = ()
    """Name of each dimension of variable size, "" for the others; empty when there are none."""
    optional: bool = False
    is_text: bool = False
    """BYTES elements must be valid UTF-8."""
    labels: tuple[str, ...] = ()
    """Class names by position, for the classification extension."""

    def __str__(self) -> str:
        """Return for example `features FP32[-1,30]`."""
        return f"{self.name} {self.datatype.value}[{','.join(str(size) for size in self.shape)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The inputs and outputs of a version, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = 0
    """Most rows of one request; 0 when the model has no batch dimension."""
    input_index: dict[str, int] = field(init=False, repr=False, compare=False)
    output_index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the names; they must be unique."""
        object.__setattr__(self, "input_index", _indexed(self.inputs))
        object.__setattr__(self, "output_index", _indexed(self.outputs))

    @property
    def has_batch_dimension(self) -> bool:
        """Whether the first dimension counts rows."""
        return self.max_batch_size > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenInput:
    """How a request describes one of its inputs."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def check_inputs(signature: Signature, given: Sequence[GivenInput]) -> tuple[tuple[int, ...], int]:
    """Check a request's description of its inputs.

    Returns:
        The position of each given input in the signature, and the rows of the request (1 without a batch dimension).

    Raises:
        InvalidInput: missing, unknown or repeated input, wrong type, rank, size or number of rows; the message names what was
            expected and what came.
    """
    positions = tuple(_position(signature, one.name) for one in given)
    if len(set(positions)) != len(positions):
        twice = next(one.name for index, one in enumerate(given) if positions.index(positions[index]) != index)
        raise InvalidInput(f"input {twice!r} is given twice", reason="DUPLICATE_INPUT", field=twice)
    missing = [spec.name for index, spec in enumerate(signature.inputs) if index not in positions and not spec.optional]
    if missing:
        names = ", ".join(_shown(one.name) for one in given[:8]) or "none"
        raise InvalidInput(
            f"missing input {', '.join(map(repr, missing))}; got {names}. Expected: {_expected(signature)}",
            reason="MISSING_INPUT",
            field=missing[0],
        )
    sizes: dict[str, tuple[int, str]] = {}
    for position, one in zip(positions, given, strict=True):
        _check_one(signature.inputs[position], one, sizes)
    return positions, _rows(signature, given)


def check_outputs(signature: Signature, names: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of the requested outputs; all of them when none is named.

    Raises:
        InvalidInput: an output is unknown or requested twice.
    """
    if len(names) > len(signature.outputs):
        raise InvalidInput(
            f"{len(names)} outputs requested, the model has {len(signature.outputs)}", reason="UNKNOWN_OUTPUT", field="outputs"
        )
    positions: list[int] = []
    for name in names:
        position = signature.output_index.get(name)
        if position is None:
            known = ", ".join(spec.name for spec in signature.outputs)
            raise InvalidInput(f"unknown output {_shown(name)}; the model gives: {known}", reason="UNKNOWN_OUTPUT", field="outputs")
        if position in positions:
            raise InvalidInput(f"output {_shown(name)} is requested twice", reason="DUPLICATE_OUTPUT", field="outputs")
        positions.append(position)
    return tuple(positions) or tuple(range(len(signature.outputs)))


def _indexed(specs: tuple[TensorSpec, ...]) -> dict[str, int]:
    index = {spec.name: position for position, spec in enumerate(specs)}
    if len(index) != len(specs):
        raise InvalidInput("tensor names of a signature must be unique", reason="BAD_NAME")
    return index


def _position(signature: Signature, name: str) -> int:
    position = signature.input_index.get(name)
    if position is None:
        raise InvalidInput(f"unknown input {_shown(name)}. Expected: {_expected(signature)}", reason="UNKNOWN_INPUT", field=name[:64])
    return position


def _check_one(spec: TensorSpec, given: GivenInput, sizes: dict[str, tuple[int, str]]) -> None:
    if given.datatype != spec.datatype.value:
        raise InvalidInput(
            f"input {spec.name!r} expects {spec.datatype.value}, got {given.datatype[:16]!r}", reason="DTYPE_MISMATCH", field=spec.name
        )
    if len(given.shape) != len(spec.shape):
        raise _wrong_shape(spec, given)
    element_count(given.shape, name=spec.name)
    symbols = spec.symbols or ("",) * len(spec.shape)
    for wanted, size, symbol in zip(spec.shape, given.shape, symbols, strict=True):
        if wanted not in (ANY, size):
            raise _wrong_shape(spec, given)
        if symbol:
            known = sizes.setdefault(symbol, (size, spec.name))
            if known[0] != size:
                raise InvalidInput(
                    f"dimension {symbol!r} is {known[0]} in input {known[1]!r} and {size} in input {spec.name!r}; they must be equal",
                    reason="SHAPE_MISMATCH",
                    field=spec.name,
                )


def _rows(signature: Signature, given: Sequence[GivenInput]) -> int:
    if not signature.has_batch_dimension or not given:
        return 1
    rows = given[0].shape[0]
    for one in given[1:]:
        if one.shape[0] != rows:
            raise InvalidInput(
                f"input {given[0].name!r} has {rows} rows and input {one.name!r} has {one.shape[0]}; they must be equal",
                reason="SHAPE_MISMATCH",
                field=one.name,
            )
    if rows > signature.max_batch_size:
        raise InvalidInput(
            f"{rows} rows are more than max_batch_size {signature.max_batch_size}: split the request",
            reason="BATCH_TOO_LARGE",
            field=given[0].name,
        )
    return rows


def _wrong_shape(spec: TensorSpec, given: GivenInput) -> InvalidInput:
    came = f"{list(given.shape[:8])}{'…' if len(given.shape) > 8 else ''}"
    return InvalidInput(f"input {spec.name!r} expects shape {list(spec.shape)}, got {came}", reason="SHAPE_MISMATCH", field=spec.name)


def _expected(signature: Signature) -> str:
    return ", ".join(str(spec) for spec in signature.inputs[:16])


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:40] + "…")
