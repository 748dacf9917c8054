"""Models for the HTTP stand: NumPy functions whose answers a test can work out by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import AnyArray, DataType

Run = Callable[[Mapping[str, AnyArray]], Mapping[str, AnyArray]]


def spec(name: str, datatype: DataType, *shape: int, **more: object) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, **more)


@dataclass
class Model:
    """A model as the stand serves it."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    run: Run
    version: str = "1"
    max_batch_size: int = 8

    @property
    def signature(self) -> Signature:
        return Signature(inputs=self.inputs, outputs=self.outputs, max_batch_size=self.max_batch_size)


FP32, INT64 = DataType.FP32, DataType.INT64


def embed(given: Mapping[str, AnyArray]) -> Mapping[str, AnyArray]:
    """Three numbers that are a function of the text alone; tokens are its words."""
    texts = [text.decode() for text in given["text"].ravel().tolist()]
    vectors = np.array([[len(text), text.count("e"), 1] for text in texts], dtype=np.float32)
    return {"embedding": vectors, "token_count": np.array([[len(text.split())] for text in texts], dtype=np.int64)}


def over_zero(given: Mapping[str, AnyArray]) -> Mapping[str, AnyArray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"y": given["x"] / np.float32(0)}


def echo_all(given: Mapping[str, AnyArray]) -> Mapping[str, AnyArray]:
    return {name + "_out": array for name, array in given.items()}


ALL_TYPES = tuple(kind for kind in DataType)


def models() -> list[Model]:
    double = lambda given: {"y": given["x"] * np.float32(2)}
    total = lambda given: {"score": given["features"].sum(axis=1, keepdims=True)}
    zero = lambda given: {"score": total(given)["score"] * 0}
    text = (spec("text", DataType.BYTES, -1, is_text=True),), (spec("embedding", FP32, -1, 3), spec("token_count", INT64, -1, 1))
    return [
        Model("echo", (spec("x", FP32, -1, 3),), (spec("y", FP32, -1, 3, labels=("cat", "dog", "owl")),), double),
        Model("wide", (spec("x", FP32, -1, -1),), (spec("y", FP32, -1, -1),), double, max_batch_size=4096),
        Model("fraud", (spec("features", FP32, -1, 3),), (spec("score", FP32, -1, 1),), total, version="v3"),
        Model("fraud", (spec("features", FP32, -1, 3),), (spec("score", FP32, -1, 1),), zero, "v2"),
        Model(
            "pair",
            (spec("a", FP32, -1, 1), spec("b", INT64, -1, 1)),
            (spec("sum", FP32, -1, 1), spec("product", FP32, -1, 1)),
            lambda given: {
                "sum": (given["a"] + given["b"]).astype(np.float32),
                "product": (given["a"] * given["b"]).astype(np.float32),
            },
        ),
        Model(
            "types",
            tuple(spec(kind.value, kind, -1, 2, optional=True) for kind in ALL_TYPES),
            tuple(spec(kind.value + "_out", kind, -1, 2) for kind in ALL_TYPES),
            echo_all,
        ),
        Model("flat", (spec("x", FP32, 4),), (spec("y", FP32, 4),), double, max_batch_size=0),
        Model(
            "scalar", (spec("x", FP32),), (spec("y", FP32),), lambda given: {"y": np.asarray(given["x"] * np.float32(2))}, max_batch_size=0
        ),
        Model("text", *text, embed, max_batch_size=4),
        Model("nan", (spec("x", FP32, -1, 1),), (spec("y", FP32, -1, 1),), over_zero),
    ]
