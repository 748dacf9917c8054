"""The real rows behind the example models: what they learn from, and what they never see.

Both tables ship inside scikit-learn, so nothing is downloaded. The split is fixed: a held-out row is held out on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

HELD_OUT_FRACTION = 0.25
"""Share of every table that no model is trained on."""

SPLIT_SEED = 20_240_501
"""Seed of the split; another seed is another split, and makes stored accuracies incomparable."""

BREAST_CANCER_CLASSES = ("malignant", "benign")
"""Names of the labels 0 and 1, in scikit-learn's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One data set, split once: FP32 rows [n, features] and INT64 labels [n]."""

    train_rows: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    held_out_rows: NDArray[np.float32]
    held_out_labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePair:
    """Two sentences and whether they mean about the same."""

    first: str
    second: str
    is_similar: bool


def digits() -> Table:
    """Return 8 × 8 handwritten digits: 64 pixels a row, each 0 to 16; labels 0 to 9."""
    return _split(*load_digits(return_X_y=True))


def breast_cancer() -> Table:
    """Return tumour measurements: 30 features a row; labels are indices into BREAST_CANCER_CLASSES."""
    return _split(*load_breast_cancer(return_X_y=True))


SENTENCE_PAIRS = (
    SentencePair(first="A man is playing a guitar on stage.", second="Someone performs music with a guitar.", is_similar=True),
    SentencePair(first="The cat sleeps on the sofa.", second="A kitten is napping on the couch.", is_similar=True),
    SentencePair(first="How do I reset my password?", second="I forgot my password and cannot log in.", is_similar=True),
    SentencePair(first="The stock market fell sharply today.", second="Shares dropped steeply on the exchange.", is_similar=True),
    SentencePair(first="She is cooking dinner for her family.", second="A woman prepares an evening meal at home.", is_similar=True),
    SentencePair(first="The flight was delayed by heavy snow.", second="Snowfall made the plane leave late.", is_similar=True),
    SentencePair(first="A man is playing a guitar on stage.", second="The quarterly tax return is due in April.", is_similar=False),
    SentencePair(first="The cat sleeps on the sofa.", second="Interest rates were raised by the central bank.", is_similar=False),
    SentencePair(first="How do I reset my password?", second="The volcano erupted early in the morning.", is_similar=False),
    SentencePair(first="The stock market fell sharply today.", second="Add two eggs and whisk until smooth.", is_similar=False),
    SentencePair(first="She is cooking dinner for her family.", second="The spacecraft entered orbit around Mars.", is_similar=False),
    SentencePair(first="The flight was delayed by heavy snow.", second="He painted the fence light green.", is_similar=False),
)
"""Sentences for the embedding model, similar pairs first."""


def _split(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> Table:
    train_rows, held_out_rows, train_labels, held_out_labels = train_test_split(
        rows.astype(np.float32), labels.astype(np.int64), test_size=HELD_OUT_FRACTION, random_state=SPLIT_SEED, stratify=labels
    )
    return Table(train_rows=train_rows, train_labels=train_labels, held_out_rows=held_out_rows, held_out_labels=held_out_labels)
