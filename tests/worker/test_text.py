"""A model that reads tokens, served as one that reads text."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from penstock.contracts.errors import LoadFailed
from penstock.contracts.model_config import Pooling, TextOptions
from penstock.contracts.model_text import TextPlan
from penstock.contracts.tensors import DataType
from services.worker.onnx_session import open_session
from services.worker.session import SessionConfig
from services.worker.text import EXECUTION_TOKENS, length_groups, text_session
from tests.worker import models

WORDS = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "one": 4, "two": 5, "three": 6}


def tokenizer_json() -> bytes:
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    tokenizer.enable_padding(length=64)
    return tokenizer.to_str().encode()


def session(**options):
    plan = TextPlan(
        options=TextOptions(**({"normalize": False} | options)),
        inputs=("input_ids", "attention_mask"),
        token_datatype=DataType.INT64,
        output="last_hidden_state",
        is_pooled=False,
        size=4,
        datatype=DataType.FP32,
        batch_symbol="rows",
    )
    return text_session(open_session(models.token_embedding(), SessionConfig()), plan, tokenizer_json())


def embed(served, *texts: str) -> list[list[float]]:
    (vectors,) = served.run({"text": np.array(texts, dtype=object)}, ["embedding"])
    assert vectors.dtype == np.float32
    return vectors.tolist()


def test_the_mean_counts_the_tokens_of_a_text_and_none_of_its_padding():
    short, long = embed(session(), "one", "two two two")

    assert short == pytest.approx([(1 + 4 + 2) / 3] * 4)
    assert long == pytest.approx([(1 + 15 + 2) / 5] * 4)


def test_the_first_token_may_stand_for_the_text():
    assert embed(session(pooling=Pooling.CLS), "one two") == [[1.0] * 4]


def test_vectors_have_length_one_where_asked():
    (vector,) = embed(session(normalize=True), "three")

    assert np.linalg.norm(vector) == pytest.approx(1.0)


def test_long_texts_are_cut():
    served = session(max_length=4)

    assert embed(served, "one two three three three") == embed(served, "one two")


def test_an_empty_text_has_a_vector_too():
    assert embed(session(), "") == [[1.5] * 4]


def test_texts_of_very_different_lengths_keep_their_order():
    texts = ["one", "two " * 400, "three", "one " * 410, "two"]

    together, alone = embed(session(), *texts), [embed(session(), text)[0] for text in texts]

    assert np.allclose(together, alone, atol=1e-5)


def test_tokens_are_counted_as_the_model_reads_them():
    texts = {"text": np.array(["one", "two two two", "one " * 50], dtype=object)}
    counts, vectors = session(max_length=8).run(texts, ["token_count", "embedding"])
    (alone,) = session(max_length=8).run(texts, ["token_count"])

    assert counts.tolist() == alone.tolist() == [[3], [5], [8]]
    assert counts.dtype == np.int64
    assert vectors.shape == (3, 4)


def test_a_file_that_is_no_tokenizer_is_refused():
    plan = session()._plan
    with pytest.raises(LoadFailed):
        text_session(session()._inner, plan, b"{}")


def tokens_of(groups, lengths) -> int:
    """Count what groups cost: padded tokens, and those that an execution is worth."""
    return sum(EXECUTION_TOKENS + len(group) * max(lengths[position] for position in group) for group in groups)


@given(st.lists(st.integers(0, 512), max_size=80))
def test_every_text_is_in_one_group_and_groups_ascend_in_length(lengths):
    groups = length_groups(lengths)

    in_order = [position for group in groups for position in group]
    assert sorted(in_order) == list(range(len(lengths)))
    assert [lengths[position] for position in in_order] == sorted(lengths)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_no_division_by_length_costs_less(lengths):
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    divisions = []
    for chosen in product([False, True], repeat=len(order) - 1):
        cuts = [0, *[place + 1 for place, is_cut in enumerate(chosen) if is_cut], len(order)]
        divisions.append([order[begin:end] for begin, end in pairwise(cuts)])

    assert tokens_of(length_groups(lengths), lengths) == min(tokens_of(one, lengths) for one in divisions)


def test_texts_of_equal_length_run_together():
    assert len(length_groups([7] * 100)) == 1
