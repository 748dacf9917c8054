"""The model `breast_cancer`: gradient-boosted trees over 30 measurements, exported by skl2onnx and configured by `model.toml`.

Takes `features` FP32 [n, 30] and answers `label` INT64 [n] and `probabilities` FP32 [n, 2], just as the exporter writes them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier

from examples import datasets
from examples.artefact import IR_VERSION, OPSET, save_golden, save_model

NAME = "breast_cancer"
SEED = 0
GOLDEN_ROWS = 8
TREE_OPSET = 3
"""Version of the operators of `ai.onnx.ml`, where the trees live."""

CONFIG = """\
# Triton's vocabulary as TOML; what is left out is completed from the ONNX graph.
max_batch_size = 128

[dynamic_batching]
preferred_batch_size = [32, 64, 128]

# Listing one output hides those that are not listed.
[[output]]
name = "label"

[[output]]
name = "probabilities"
label_filename = "labels.txt"

[[golden]]
file = "golden.json"
"""


def build(folder: Path) -> None:
    """Write version 1, its configuration and its labels into the model's folder."""
    table = datasets.breast_cancer()
    trees = GradientBoostingClassifier(n_estimators=150, max_depth=3, subsample=0.8, random_state=SEED)
    trees.fit(table.train_rows, table.train_labels)
    save_model(_model(trees, table.train_rows.shape[1]), folder / "1")
    rows = table.held_out_rows[:GOLDEN_ROWS]
    outputs = {"label": trees.predict(rows), "probabilities": trees.predict_proba(rows).astype(np.float32)}
    save_golden({"features": rows}, outputs, folder / "1")
    (folder / "model.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in datasets.BREAST_CANCER_CLASSES), encoding="utf-8")


def _model(trees: GradientBoostingClassifier, features: int) -> onnx.ModelProto:
    """Export with plain tensors as outputs: the exporter's default, a list of dictionaries, is nothing that a wire can carry."""
    model = to_onnx(
        trees,
        name=NAME,
        initial_types=[("features", FloatTensorType([None, features]))],
        options={"zipmap": False},
        target_opset={"": OPSET, "ai.onnx.ml": TREE_OPSET},
    )
    model.ir_version = IR_VERSION
    return model
