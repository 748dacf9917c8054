"""What the package `onnx` finds wrong with a graph, and what it says about it. Blocks; run in a process of its own.

`graph_scan` has been over the file before: its external data are plain files beside the model, its operators are known. Here follow the
graph's own consistency, ranges of external data, and limits on what a file may claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

MAX_BYTES = (2 << 30) - 1
"""Largest ONNX file: protobuf has no larger messages."""
MAX_METADATA_BYTES = 1 << 20
MAX_DIMENSIONS = 32
MAX_ELEMENTS = 1 << 40
MAX_NODES = 1_000_000
FIRST_OPSET = 7
"""Oldest operator set of ai.onnx that ONNX Runtime promises to run."""


class GraphRefused(Exception):
    """The graph is not served; the message is for its owner."""


def check_graph(path: Path) -> dict[str, Any]:
    """Return what a graph says about itself.

    Raises:
        GraphRefused: it is broken, beyond the limits, or newer than what is installed here.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise GraphRefused(f"{path.name} has {size} bytes; an ONNX file has at most {MAX_BYTES}: save its weights as external data")
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except DecodeError as error:
        raise GraphRefused(f"{path.name} is no ONNX file") from error
    _check_versions(model)
    metadata = _checked_metadata(model)
    for tensor in _tensors(model):
        _check_tensor(tensor, path.parent)
    _check_with_onnx(path)
    return {
        "producer": _shown(f"{model.producer_name} {model.producer_version}".strip()),
        "framework": _shown(model.producer_name.partition(" ")[0].lower()),
        "ir_version": int(model.ir_version),
        "opsets": {_shown(one.domain) or "ai.onnx": int(one.version) for one in model.opset_import},
        "metadata": metadata,
        "onnx_version": str(onnx.__version__),
    }


def _check_versions(model: onnx.ModelProto) -> None:
    if not 3 <= model.ir_version <= onnx.IR_VERSION:
        raise GraphRefused(f"IR version {model.ir_version} is not within 3 and {onnx.IR_VERSION}: export the model for an older ONNX")
    newest = onnx.defs.onnx_opset_version()
    for one in model.opset_import:
        if one.domain in ("", "ai.onnx") and not FIRST_OPSET <= one.version <= newest:
            raise GraphRefused(f"operator set {one.version} is not within {FIRST_OPSET} and {newest}: export the model with one that is")
    if not model.graph.output:
        raise GraphRefused("the graph has no outputs")
    if sum(1 for graph in _graphs(model) for _ in graph.node) > MAX_NODES:
        raise GraphRefused(f"the graph has more than {MAX_NODES} operators")


def _checked_metadata(model: onnx.ModelProto) -> dict[str, str]:
    entries = [(one.key, one.value) for one in model.metadata_props]
    size = sum(len(key) + len(value) for key, value in entries) + len(model.doc_string)
    if size > MAX_METADATA_BYTES:
        raise GraphRefused(f"metadata_props and doc_string have {size} characters, more than {MAX_METADATA_BYTES}")
    for key, value in entries:
        if not key.isprintable() or any(not (one.isprintable() or one in "\n\t") for one in value):
            raise GraphRefused(f"metadata_props: {key[:40]!r} has control characters")
    return {key: value[:200] for key, value in entries[:50]}


def _check_with_onnx(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:  # the checker raises types of its own, and ValueError, and RuntimeError
        first = next(iter(str(error).strip().splitlines()), "it says nothing")
        raise GraphRefused(f"onnx.checker: {first.replace(str(path.parent), '')[:300]}") from error


def _check_tensor(tensor: onnx.TensorProto, folder: Path) -> None:
    name = _shown(tensor.name) or "a constant"
    elements = 1
    if len(tensor.dims) > MAX_DIMENSIONS:
        raise GraphRefused(f"{name} has {len(tensor.dims)} dimensions, more than {MAX_DIMENSIONS}")
    for size in tensor.dims:
        elements *= size
        if size < 0 or elements > MAX_ELEMENTS:
            raise GraphRefused(f"{name} has impossible dimensions {list(tensor.dims)[:8]}")
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        _check_range(tensor, name, folder)


def _check_range(tensor: onnx.TensorProto, name: str, folder: Path) -> None:
    entries = {one.key: one.value for one in tensor.external_data}
    try:
        there = (folder / entries["location"]).stat().st_size
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(there)))
    except (KeyError, ValueError, OSError) as error:
        raise GraphRefused(f"{name}: its external data say no place, offset or length that can be read") from error
    if offset < 0 or length < 0 or offset + (length if "length" in entries else 0) > there:
        raise GraphRefused(f"{name}: bytes {offset} to {offset + length} are not within the {there} bytes of {entries['location'][:40]!r}")


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor: initialisers, sparse ones, attributes, in subgraphs, functions and training graphs, too."""
    for graph in _graphs(model):
        yield from graph.initializer
        yield from _dense(graph.sparse_initializer)
        yield from _of_nodes(graph.node)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            yield from _dense([*attribute.sparse_tensors, *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])])


def _dense(sparse: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for one in sparse:
        yield from (one.values, one.indices)


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    waiting = [model.graph, *(one.algorithm for one in model.training_info), *(one.initialization for one in model.training_info)]
    nodes: list[onnx.NodeProto] = [node for function in model.functions for node in function.node]
    while waiting or nodes:
        if waiting:
            graph = waiting.pop()
            yield graph
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            waiting.extend([*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])])


def _shown(text: str) -> str:
    return "".join(one for one in text[:100] if one.isprintable())
