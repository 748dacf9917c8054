"""Models that are worth more than their transport, and what they are asked: trees, a conv net, sentences."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from bench import model
from bench.bodies import infer_request
from bench.limit import Feed
from bench.model import Floats
from examples import datasets, minilm
from penstock.oip.v2 import inference_pb2 as pb

REQUEST_ROWS = 32
TABULAR_BATCHES = (32, 64, 256)
TABULAR_CONFIG = "max_batch_size = 256\n\n[dynamic_batching]\n"
"""The raw loop may take as many rows; what is served takes 64 unless told otherwise."""
SIDE = 224
"""Height and width of an image: 3 × 224 × 224 × 4 bytes = 602 KB."""
TREES, DEPTH, TREE_FEATURES = 100, 6, 30
SENTENCES = 256
LONGEST_WORDS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A model, requests to it, and the same rows for the raw loop."""

    name: str
    path: Path
    """The ONNX file."""
    requests: Sequence[pb.ModelInferRequest]
    rows: int
    """Of each request."""
    answers: Sequence[Floats]
    """What the first requests must be answered with."""
    feeds: Mapping[int, Sequence[Feed]]
    """The raw loop's batches, by size."""
    in_flight: int
    wide_in_flight: int = 0
    """For a further figure: so many that the server may sort as many as the raw loop; 0 for none."""


def tiny32(folder: Path) -> Workload:
    """The race's tiny MLP, 32 rows a request."""
    path = model.build_repository(folder)
    return _tabular("tiny32", path, model.NAME, model.rows(REQUEST_ROWS))


def trees32(folder: Path) -> Workload:
    """A forest of 100 random trees of depth 6 over 30 features, 32 rows a request."""
    path = model.save(_forest(), folder / "trees")
    proto = onnx.load(path)
    proto.opset_import.add(domain="ai.onnx.ml", version=3)
    onnx.save(proto, path)
    rows = np.random.default_rng(3).normal(size=(REQUEST_ROWS, TREE_FEATURES)).astype(np.float32)
    return _tabular("trees32", path, "trees", rows)


def conv(folder: Path) -> Workload:
    """A small convolutional network, one image of 602 KB a request."""
    path = model.save(conv_graph("conv", side=SIDE, channels=(16, 32, 64, 64)), folder / "conv")
    images = np.random.default_rng(5).random((8, 3, SIDE, SIDE), np.float32)
    feeds = {size: [{"x": images[start : start + size]} for start in range(0, len(images), size)] for size in (1, 4, 8)}
    return Workload(
        name="conv",
        path=path,
        requests=[infer_request(image[np.newaxis], model="conv") for image in images],
        rows=1,
        answers=[model.session(path).run(None, {"x": image[np.newaxis]})[0] for image in images[:2]],
        feeds=feeds,
        in_flight=16,
    )


def sentences(folder: Path) -> Workload:
    """MiniLM on sentences of lognormal length, one a request; the raw loop has them tokenised and sorted by length."""
    place = folder / minilm.NAME
    minilm.build(place)
    path, tokenizer = place / "1" / "model.onnx", Tokenizer.from_file(str(place / "1" / "tokenizer.json"))
    tokenizer.no_padding()
    texts = _texts()
    tokens = [one.ids for one in tokenizer.encode_batch(texts)]
    by_length = sorted(tokens, key=len)
    feeds = {size: [_padded(by_length[start : start + size]) for start in range(0, SENTENCES, size)] for size in (1, 8, 32)}
    loaded = model.session(path)
    return Workload(
        name="minilm",
        path=path,
        requests=[_text_request(text) for text in texts],
        rows=1,
        answers=[_pooled(loaded.run(None, _padded([one]))[0]) for one in tokens[:4]],
        feeds=feeds,
        in_flight=64,
        wide_in_flight=SENTENCES,
    )


WORKLOADS: Mapping[str, Callable[[Path], Workload]] = {"tiny32": tiny32, "trees32": trees32, "conv": conv, "minilm": sentences}


def conv_graph(name: str, *, side: int, channels: Sequence[int]) -> onnx.GraphProto:
    """Return convolutions of 3 × 3, the first at full size and each further one at half of the one before, and a dense layer."""
    random, nodes, weights, last, depth = np.random.default_rng(11), [], [], "x", 3
    for number, width in enumerate(channels):
        scale = (2 / (9 * depth)) ** 0.5
        weights.append(numpy_helper.from_array(random.normal(0, scale, (width, depth, 3, 3)).astype(np.float32), f"k{number}"))
        strides = [1, 1] if number == 0 else [2, 2]
        nodes.append(helper.make_node("Conv", [last, f"k{number}"], [f"c{number}"], pads=[1, 1, 1, 1], strides=strides))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last, depth = f"r{number}", width
    weights.append(numpy_helper.from_array(random.normal(0, 0.1, (depth, 10)).astype(np.float32), "dense"))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "dense"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3, side, side])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 10])
    return helper.make_graph(nodes, name, [x], [y], weights)


def _tabular(name: str, path: Path, served_as: str, rows: Floats) -> Workload:
    (answer,) = model.session(path).run(None, {"x": rows})
    feeds = {size: [{"x": np.concatenate([rows] * (size // len(rows)))}] for size in TABULAR_BATCHES}
    request = infer_request(rows, model=served_as)
    (path.parent.parent / "model.toml").write_text(TABULAR_CONFIG)
    return Workload(name=name, path=path, requests=[request], rows=len(rows), answers=[answer], feeds=feeds, in_flight=64)


def _forest() -> onnx.GraphProto:
    random = np.random.default_rng(13)
    inner, leaves = 2**DEPTH - 1, 2**DEPTH
    per_tree = inner + leaves
    ids = list(range(per_tree))
    is_inner = [node < inner for node in ids]
    attributes = {
        "nodes_treeids": [tree for tree in range(TREES) for _ in ids],
        "nodes_nodeids": ids * TREES,
        "nodes_featureids": [int(random.integers(TREE_FEATURES)) if inside else 0 for _ in range(TREES) for inside in is_inner],
        "nodes_values": [float(random.normal()) if inside else 0.0 for _ in range(TREES) for inside in is_inner],
        "nodes_modes": ["BRANCH_LEQ" if inside else "LEAF" for inside in is_inner] * TREES,
        "nodes_truenodeids": [2 * node + 1 if inside else 0 for node, inside in zip(ids, is_inner, strict=True)] * TREES,
        "nodes_falsenodeids": [2 * node + 2 if inside else 0 for node, inside in zip(ids, is_inner, strict=True)] * TREES,
        "target_treeids": [tree for tree in range(TREES) for _ in range(leaves)],
        "target_nodeids": list(range(inner, per_tree)) * TREES,
        "target_ids": [0] * (TREES * leaves),
        "target_weights": random.normal(size=TREES * leaves).astype(float).tolist(),
        "n_targets": 1,
    }
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", TREE_FEATURES])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])
    return helper.make_graph([node], "trees", [x], [y])


def _texts() -> list[str]:
    random = Random(17)
    words = [word for pair in datasets.SENTENCE_PAIRS for text in (pair.first, pair.second) for word in text.split()]
    lengths = [min(LONGEST_WORDS, max(3, round(random.lognormvariate(2.5, 0.6)))) for _ in range(SENTENCES)]
    return [" ".join(random.choices(words, k=length)) for length in lengths]


def _text_request(text: str) -> pb.ModelInferRequest:
    content = text.encode()
    request = pb.ModelInferRequest(model_name=minilm.NAME)
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(struct.pack("<I", len(content)) + content)
    return request


def _padded(tokens: Sequence[Sequence[int]]) -> Feed:
    longest = max(map(len, tokens))
    ids = np.zeros((len(tokens), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(tokens):
        ids[row, : len(one)] = one
        mask[row, : len(one)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def _pooled(vectors: NDArray[np.float32]) -> Floats:
    mean = vectors[0].mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)
