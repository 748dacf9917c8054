"""The model `digits`: handwritten digits, as version 1 (a small dense net) and version 2 (a convolutional net, better).

Both take `pixels` FP32 [n, 64] from 0 to 16 and answer `label` INT64 [n, 1] and `probabilities` FP32 [n, 10]. The model is configured
by a `config.pbtxt` as Triton reads it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier

from examples import conv_net, datasets
from examples.artefact import model_of, save_golden, save_model

NAME = "digits"
HIDDEN_UNITS = 16
SEED = 0
GOLDEN_ROWS = 8
WARMUP_ROWS = 8

CONFIG = f"""\
# Triton's vocabulary; what is left out is completed from the ONNX graph.
name: "{NAME}"
platform: "onnxruntime_onnx"
max_batch_size: 64
input [
  {{ name: "pixels", data_type: TYPE_FP32, dims: [ 64 ] }}
]
output [
  {{ name: "label", data_type: TYPE_INT64, dims: [ 1 ] }},
  {{ name: "probabilities", data_type: TYPE_FP32, dims: [ 10 ], label_filename: "labels.txt" }}
]
version_policy: {{ all {{ }} }}
instance_group [ {{ count: 1, kind: KIND_CPU }} ]
dynamic_batching {{
  preferred_batch_size: [ 16, 32, 64 ]
  max_queue_delay_microseconds: 0
}}
model_warmup [
  {{
    name: "real_digits"
    batch_size: {WARMUP_ROWS}
    inputs {{ key: "pixels", value: {{ data_type: TYPE_FP32, dims: [ 64 ], input_data_file: "pixels" }} }}
  }},
  {{
    name: "one_row_of_zeros"
    batch_size: 1
    inputs {{ key: "pixels", value: {{ data_type: TYPE_FP32, dims: [ 64 ], zero_data: true }} }}
  }}
]
# A version that does not answer this file's inputs with its outputs is not served.
parameters {{ key: "penstock.golden", value: {{ string_value: '[{{"file": "golden.json"}}]' }} }}
"""


def build(folder: Path) -> None:
    """Write both versions, the configuration, the labels and the warm-up rows into the model's folder."""
    table = datasets.digits()
    _build_dense(table, folder / "1")
    _build_convolutional(table, folder / "2")
    (folder / "config.pbtxt").write_text(CONFIG, encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(conv_net.CLASSES)), encoding="utf-8")
    (folder / "warmup").mkdir()
    (folder / "warmup" / "pixels").write_bytes(table.train_rows[:WARMUP_ROWS].tobytes())


def _build_dense(table: datasets.Table, version_folder: Path) -> None:
    network = MLPClassifier((HIDDEN_UNITS,), learning_rate_init=0.01, max_iter=1_000, random_state=SEED)
    network.fit(table.train_rows / conv_net.BRIGHTEST, table.train_labels)
    save_model(_dense_model(network), version_folder)
    rows = table.held_out_rows[:GOLDEN_ROWS]
    _save_golden(rows, network.predict_proba(rows / conv_net.BRIGHTEST), version_folder)


def _build_convolutional(table: datasets.Table, version_folder: Path) -> None:
    network = conv_net.train(table.train_rows, table.train_labels, seed=SEED)
    save_model(_convolutional_model(network), version_folder)
    rows = table.held_out_rows[:GOLDEN_ROWS]
    _save_golden(rows, network.probabilities(rows), version_folder)


def _save_golden(rows: NDArray[np.float32], probabilities: NDArray[np.float32], version_folder: Path) -> None:
    labels = probabilities.argmax(axis=1, keepdims=True).astype(np.int64)
    save_golden({"pixels": rows}, {"label": labels, "probabilities": probabilities.astype(np.float32)}, version_folder)


def _dense_model(network: MLPClassifier) -> onnx.ModelProto:
    hidden, output = network.coefs_
    hidden_bias, output_bias = network.intercepts_
    nodes = [
        helper.make_node("Div", ["pixels", "brightest"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "hidden", "hidden_bias"], ["before_relu"]),
        helper.make_node("Relu", ["before_relu"], ["features"]),
        helper.make_node("Gemm", ["features", "output", "output_bias"], ["scores"]),
    ]
    weights = {"hidden": hidden, "hidden_bias": hidden_bias, "output": output, "output_bias": output_bias}
    return _classifier("digits_dense", nodes, weights)


def _convolutional_model(network: conv_net.ConvNet) -> onnx.ModelProto:
    """Write the trained network with ONNX's channels-first operators; the transpose before the dense layer keeps its row order."""
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Div", ["pixels", "brightest"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "image_shape"], ["images"]),
        helper.make_node("Conv", ["images", "kernel_1", "bias_1"], ["mapped"], pads=pads),
        helper.make_node("Relu", ["mapped"], ["positive"]),
        helper.make_node("MaxPool", ["positive"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pooled", "kernel_2", "bias_2"], ["mapped_again"], pads=pads),
        helper.make_node("Relu", ["mapped_again"], ["channels_first"]),
        helper.make_node("Transpose", ["channels_first"], ["channels_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Flatten", ["channels_last"], ["features"]),
        helper.make_node("Gemm", ["features", "dense", "dense_bias"], ["scores"]),
    ]
    weights = {
        "kernel_1": network.kernel_1.transpose(3, 2, 0, 1),
        "bias_1": network.bias_1,
        "kernel_2": network.kernel_2.transpose(3, 2, 0, 1),
        "bias_2": network.bias_2,
        "dense": network.dense,
        "dense_bias": network.dense_bias,
    }
    image_shape = numpy_helper.from_array(np.array([-1, 1, conv_net.SIDE, conv_net.SIDE], np.int64), "image_shape")
    return _classifier("digits_convolutional", nodes, weights, image_shape)


def _classifier(
    name: str, nodes: list[onnx.NodeProto], weights: dict[str, NDArray[np.float32]], *others: onnx.TensorProto
) -> onnx.ModelProto:
    """Complete nodes that end in `scores` [n, 10] with the softmax, the label, and the inputs and outputs."""
    constants = {"brightest": np.array(conv_net.BRIGHTEST), **weights}
    graph = helper.make_graph(
        [
            *nodes,
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=1),
        ],
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", 64])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows", 1]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", conv_net.CLASSES]),
        ],
        [*(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), key) for key, array in constants.items()), *others],
    )
    return model_of(graph)
