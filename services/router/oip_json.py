"""Turns an OIP inference request from HTTP into ModelInferRequest bytes.

The body is JSON, with tensors as JSON values or, by the binary extension, as bytes behind it (see oip_binary); both may be mixed. All
tensors leave here as raw contents, so that what follows has one form to deal with. What only HTTP knows (`binary_data_size`,
`binary_data`, `binary_data_output`) is consumed here and becomes the `AnswerForm`; everything else is handed on untouched, to be
judged where gRPC requests are judged.

Clients of one shape send the same JSON again and again, but for an id and the values of a tensor (json_holes). What is around those is
kept with its translation, so that the next request is a look-up, a join and, for JSON values, reading and packing them alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson

from penstock.contracts.errors import InvalidInput, MalformedBody, NotImplementedHere
from penstock.contracts.tensors import DataType, datatype_named
from services.router import oip_wire as wire
from services.router.json_holes import ID_LIMIT, Cut, cut_out, is_sound
from services.router.json_tensors import Packing, counted, pack, packing
from services.router.oip_binary import cut, split
from services.router.strict_json import kind_of, loads_object

NAMES_LIMIT = 256
"""Most inputs, outputs or parameters that a body may list."""
_KEPT_DESCRIPTIONS = 1024
_KEPT_BYTES = 4096
_SHARED_MEMORY = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
_Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """Which outputs the caller wants as bytes behind the JSON."""

    default_is_binary: bool = False
    by_output: Mapping[str, bool] | None = None

    def is_binary(self, output: str) -> bool:
        """Whether this output travels as bytes."""
        by_output = self.by_output
        return self.default_is_binary if by_output is None else by_output.get(output, self.default_is_binary)


@dataclass(frozen=True, slots=True)
class _Description:
    """What the JSON says: fields of the message up to its tensors, and the tensors themselves as far as they are JSON."""

    head: bytes
    """Behind the id."""
    raws: list[bytes | None]
    """One an input; None stands for the next binary tensor."""
    sizes: list[int]
    """Bytes of each binary tensor."""
    form: AnswerForm
    request_id: str
    hole: _Hole | None = None
    """The tensor whose values differ from request to request."""


@dataclass(frozen=True, slots=True)
class _Hole:
    """The first tensor with JSON values."""

    place: int
    """Among all inputs."""
    packing: Packing

    def pack(self, values: bytes) -> bytes | None:
        """Return the tensor's bytes; None when reading the whole document must tell what is wrong."""
        try:
            return self.packing.pack(orjson.loads(values))
        except orjson.JSONDecodeError:
            return None


class OipJson:
    """Translates requests and remembers their descriptions."""

    def __init__(self) -> None:
        """Start with nothing remembered."""
        self._kept: dict[bytes, _Description] = {}

    def translate(self, model: str, version: str, body: bytes, length: bytes | None) -> tuple[bytes, AnswerForm, str]:
        """Return the ModelInferRequest, the form of its answer, and its id (empty when it has none).

        Args:
            model: name from the path.
            version: from the path; empty when it names none.
            body: uncompressed.
            length: value of the header Inference-Header-Content-Length; None when absent.

        Raises:
            InvalidInput: the body breaks the protocol; MalformedBody when it is no JSON.
            NotImplementedHere: it refers to shared memory.
            RequestTooLarge: JSON values that would expand beyond the limit.
        """
        document, tail = split(body, length)
        pieces = cut_out(document)
        found = self._kept.get(pieces.key)
        request_id, given = pieces.identity, None
        if found is not None and found.hole is not None:
            given = found.hole.pack(pieces.values)
        if found is None or (given is None and found.hole is not None):
            found = self._read(document, pieces)
            request_id, given = found.request_id, None
        views = cut(tail, found.sizes)
        raws: list[bytes | memoryview]
        if len(views) == len(found.raws):
            raws = cast("list[bytes | memoryview]", views)
        else:
            binary = iter(views)
            raws = [next(binary) if raw is None else raw for raw in found.raws]
        if given is not None and found.hole is not None:
            raws[found.hole.place] = given
        return wire.infer_request((wire.address(model, version), wire.identity(request_id), found.head), raws), found.form, request_id

    def _read(self, document: bytes, pieces: Cut) -> _Description:
        """Read a document in full, and keep what it says if the next one can be told by it."""
        given = loads_object(document)
        found = _describe(given)
        inputs = _list_of(given, "inputs")
        if len(pieces.key) > _KEPT_BYTES or not inputs or not is_sound(pieces, document, given, inputs):
            return found
        if len(self._kept) >= _KEPT_DESCRIPTIONS:
            self._kept.clear()
        hole = _hole_of(found, inputs)
        if hole is None and pieces.values:
            return found
        # Values that will be others next time are not held.
        raws = found.raws if hole is None else [b"" if place == hole.place else raw for place, raw in enumerate(found.raws)]
        self._kept[pieces.key] = replace(found, hole=hole, raws=raws, request_id="")
        return found


def parameters_of(given: Any, where: str) -> dict[str, wire.Parameter]:
    """Return a JSON object of parameters.

    Raises:
        InvalidInput: no object, too many, or a value that is neither string, number nor boolean.
    """
    if given is None:
        return {}
    if type(given) is not dict:
        raise InvalidInput(f"parameters of {where} must be an object, not {kind_of(given)}", reason="BAD_PARAMETER", field="parameters")
    checked = cast("dict[str, Any]", given)
    if len(checked) > NAMES_LIMIT:
        raise InvalidInput(f"{len(checked)} parameters of {where}, the limit is {NAMES_LIMIT}", reason="BAD_PARAMETER", field="parameters")
    for name, value in checked.items():
        if type(value) not in (bool, int, float, str):
            raise InvalidInput(
                f"parameter {name[:64]!r} must be a string, a number or a boolean, not {kind_of(value)}",
                reason="BAD_PARAMETER",
                field=name[:64],
            )
    return checked


def identity_of(given: Any) -> str:
    """Return a request id; empty when there is none.

    Raises:
        InvalidInput: no string, too long, or with characters that do not print (they would forge log lines).
    """
    if given is None:
        return ""
    if type(given) is not str or len(given) > ID_LIMIT or not given.isprintable():
        raise InvalidInput(f"the request id must be a string of at most {ID_LIMIT} printable characters", reason="BAD_ID", field="id")
    return given


def _describe(document: _Object) -> _Description:
    request_id = identity_of(document.get("id"))
    given = parameters_of(document.get("parameters"), "the request")
    default_is_binary = _flag(given, "binary_data_output")
    raws: list[bytes | None] = []
    sizes: list[int] = []
    by_output: dict[str, bool] = {}
    inputs = [_input(one, raws, sizes) for one in _list_of(document, "inputs")]
    outputs = [_output(one, by_output, default_is_binary=default_is_binary) for one in _list_of(document, "outputs", is_optional=True)]
    head = b"".join([wire.parameters(given) if given else b"", *inputs, *outputs])
    form = AnswerForm(default_is_binary, by_output or None) if default_is_binary or by_output else _ALL_JSON
    return _Description(head=head, raws=raws, sizes=sizes, form=form, request_id=request_id)


_ALL_JSON = AnswerForm()


def _hole_of(found: _Description, inputs: list[_Object]) -> _Hole | None:
    place = next((place for place, raw in enumerate(found.raws) if raw is not None), None)
    if place is None:
        return None
    one = inputs[place]
    quick = packing(datatype_named(one["datatype"], field="datatype"), tuple(one["shape"]))
    return None if quick is None else _Hole(place, quick)


def _input(one: _Object, raws: list[bytes | None], sizes: list[int]) -> bytes:
    """Return the description of an input and put its values, or their size, into the lists."""
    name = _text(one, "name", "an input")
    datatype = datatype_named(_text(one, "datatype", f"input {name[:40]!r}"), field=name[:40])
    shape = _shape(name, one.get("shape"))
    given = parameters_of(one.get("parameters"), "an input") if "parameters" in one else {}
    size = given.pop("binary_data_size", None)
    _refuse_shared_memory(given)
    if size is not None:
        if "data" in one:
            raise InvalidInput(f"input {name[:40]!r} has both data and binary_data_size", reason="BAD_VALUE", field=name[:40])
        sizes.append(_binary_size(name, datatype, shape, size))
        raws.append(None)
    else:
        raws.append(pack(name, datatype, shape, one["data"]) if "data" in one else _without_values(name))
    return wire.tensor_with(name, datatype.value, shape, given)


def _output(one: _Object, by_output: dict[str, bool], *, default_is_binary: bool) -> bytes:
    name = _text(one, "name", "an output")
    given = parameters_of(one.get("parameters"), "an output")
    _refuse_shared_memory(given)
    by_output[name] = _flag(given, "binary_data", default=default_is_binary)
    return wire.wanted(name, given)


def _list_of(document: _Object, key: str, *, is_optional: bool = False) -> list[_Object]:
    given = document.get(key)
    if given is None and is_optional:
        return []
    if type(given) is not list:
        raise MalformedBody(f"{key!r} must be an array of objects, not {kind_of(given)}", reason="BAD_VALUE", field=key)
    entries = cast("list[Any]", given)
    if len(entries) > NAMES_LIMIT:
        raise InvalidInput(f"{len(entries)} {key}, the limit is {NAMES_LIMIT}", reason="BAD_VALUE", field=key)
    for one in entries:
        if type(one) is not dict:
            raise MalformedBody(f"{key!r} must hold objects, not {kind_of(one)}", reason="BAD_VALUE", field=key)
    return cast("list[_Object]", entries)


def _text(one: _Object, key: str, where: str) -> str:
    given = one.get(key)
    if type(given) is not str:
        raise InvalidInput(f"{key!r} of {where} must be a string, not {kind_of(given)}", reason="BAD_VALUE", field=key)
    return given


def _shape(name: str, given: Any) -> tuple[int, ...]:
    if type(given) is not list or not {int}.issuperset(map(type, cast("list[Any]", given))):
        raise InvalidInput(f"shape of input {name[:40]!r} must be an array of integers", reason="SHAPE_MISMATCH", field=name[:40])
    shape = tuple(cast("list[int]", given))
    counted(name[:40], shape)
    if shape and max(shape) >= 2**63:
        raise InvalidInput(f"shape of input {name[:40]!r} does not fit 64 bits", reason="SHAPE_MISMATCH", field=name[:40])
    return shape


def _binary_size(name: str, datatype: DataType, shape: tuple[int, ...], size: Any) -> int:
    if type(size) is not int or size < 0:
        raise InvalidInput(f"binary_data_size of input {name[:40]!r} must be a number of bytes", reason="BYTE_COUNT", field=name[:40])
    itemsize = datatype.itemsize
    if itemsize is not None and size != counted(name, shape) * itemsize:
        raise InvalidInput(
            f"binary_data_size of input {name[:40]!r} is {size}, {datatype.value}{list(shape)} needs {counted(name, shape) * itemsize}",
            reason="BYTE_COUNT",
            field=name[:40],
        )
    return size


def _without_values(name: str) -> bytes:
    raise InvalidInput(f"input {name[:40]!r} has neither data nor binary_data_size", reason="BYTE_COUNT", field=name[:40])


def _flag(given: dict[str, wire.Parameter], name: str, *, default: bool = False) -> bool:
    value = given.pop(name, default)
    if type(value) is not bool:
        raise InvalidInput(f"parameter {name!r} must be true or false", reason="BAD_PARAMETER", field=name)
    return value


def _refuse_shared_memory(given: Mapping[str, wire.Parameter]) -> None:
    if any(name in given for name in _SHARED_MEMORY):
        raise NotImplementedHere("shared memory is not offered here: send the tensor's bytes", reason="SHARED_MEMORY")
