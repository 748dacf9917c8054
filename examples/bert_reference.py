"""The same encoder in plain NumPy, written from the paper (Devlin et al., 2019) and sharing nothing with the graph.

Slow and simple: what the ONNX file answers is judged against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Floats = NDArray[np.float64]


class BertReference:
    """An encoder over FP64 weights; one sentence at a time, so nothing is padded and nothing masked."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], *, heads: int, layer_norm_epsilon: float) -> None:
        """Store the weights, named as in Hugging Face's `BertModel`."""
        self._weights = weights
        self._heads = heads
        self._epsilon = layer_norm_epsilon

    def hidden_states(self, token_ids: list[int]) -> Floats:
        """Return the last layer's vectors, [tokens, hidden]."""
        states = self._embedded(token_ids)
        layer = 0
        while f"encoder.layer.{layer}.output.dense.weight" in self._weights:
            states = self._layer(f"encoder.layer.{layer}", states)
            layer += 1
        return states

    def embedding(self, token_ids: list[int]) -> Floats:
        """Return the mean of the last layer's vectors, of length 1: [hidden]."""
        mean = self.hidden_states(token_ids).mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _embedded(self, token_ids: list[int]) -> Floats:
        words = self._get("embeddings.word_embeddings.weight")[token_ids]
        positions = self._get("embeddings.position_embeddings.weight")[: len(token_ids)]
        return self._normalised("embeddings.LayerNorm", words + positions + self._get("embeddings.token_type_embeddings.weight")[0])

    def _layer(self, prefix: str, states: Floats) -> Floats:
        query, key, value = (self._dense(f"{prefix}.attention.self.{part}", states) for part in ("query", "key", "value"))
        heads = [_attend(*parts) for parts in zip(*(np.split(part, self._heads, axis=1) for part in (query, key, value)), strict=True)]
        attended = self._dense(f"{prefix}.attention.output.dense", np.concatenate(heads, axis=1))
        states = self._normalised(f"{prefix}.attention.output.LayerNorm", states + attended)
        widened = self._dense(f"{prefix}.intermediate.dense", states)
        activated = widened * (1 + erf(widened / np.sqrt(2))) / 2
        return self._normalised(f"{prefix}.output.LayerNorm", states + self._dense(f"{prefix}.output.dense", activated))

    def _dense(self, prefix: str, states: Floats) -> Floats:
        return np.einsum("ti,oi->to", states, self._get(f"{prefix}.weight")) + self._get(f"{prefix}.bias")

    def _normalised(self, prefix: str, states: Floats) -> Floats:
        centred = states - states.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self._epsilon)
        return centred / spread * self._get(f"{prefix}.weight") + self._get(f"{prefix}.bias")

    def _get(self, name: str) -> Floats:
        return self._weights[name].astype(np.float64)


def _attend(query: Floats, key: Floats, value: Floats) -> Floats:
    scores = np.exp(query @ key.T / np.sqrt(query.shape[1]))
    return scores / scores.sum(axis=1, keepdims=True) @ value
