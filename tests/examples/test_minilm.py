import json
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer

from examples import datasets, minilm
from examples.bert_reference import BertReference

SENTENCES = (
    "Hello",
    "A man is playing a guitar on stage.",
    "Größe, naïveté & 日本 — tokens of every kind: 3.14159!",
    "All happy families are alike; each unhappy family is unhappy in its own way. " * 3,
)


@pytest.fixture(scope="module")
def tokenizer(repository):
    opened = Tokenizer.from_file(str(repository / "minilm" / "1" / "tokenizer.json"))
    opened.enable_truncation(minilm.MAX_TOKENS)
    opened.enable_padding()
    return opened


@pytest.fixture(scope="module")
def reference():
    shape = minilm.shape()
    return BertReference(minilm.weights(), heads=shape.heads, layer_norm_epsilon=shape.layer_norm_epsilon)


@pytest.fixture(scope="module")
def encoder(open_version):
    return open_version("minilm/1")


def token_tensors(encodings):
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {name: np.array([getattr(one, column) for one in encodings], np.int64) for name, column in columns.items()}


def embeddings(encoder, tokenizer, sentences):
    inputs = token_tensors(tokenizer.encode_batch(list(sentences)))
    (states,) = encoder.run(["last_hidden_state"], inputs)
    mask = inputs["attention_mask"][:, :, None]
    means = (states * mask).sum(axis=1) / mask.sum(axis=1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def test_a_padded_batch_equals_the_reference_sentence_by_sentence(encoder, tokenizer, reference):
    encodings = tokenizer.encode_batch(list(SENTENCES))
    (states,) = encoder.run(["last_hidden_state"], token_tensors(encodings))

    assert len({sum(one.attention_mask) for one in encodings}) == len(SENTENCES), "the sentences should differ in length"
    for encoding, answer in zip(encodings, states, strict=True):
        length = sum(encoding.attention_mask)
        expected = reference.hidden_states(encoding.ids[:length])
        assert np.abs(answer[:length] - expected).max() < 1e-4


def test_what_stands_in_the_padding_changes_nothing(encoder, tokenizer):
    inputs = token_tensors(tokenizer.encode_batch(list(SENTENCES)))
    is_padding = inputs["attention_mask"] == 0
    (expected,) = encoder.run(["last_hidden_state"], inputs)

    (states,) = encoder.run(["last_hidden_state"], inputs | {"input_ids": np.where(is_padding, 2003, inputs["input_ids"])})
    np.testing.assert_allclose(states[~is_padding], expected[~is_padding], atol=1e-5)


def test_the_longest_sentence_is_answered(encoder, tokenizer, reference):
    (encoding,) = tokenizer.encode_batch(["word " * 1_000])
    (states,) = encoder.run(["last_hidden_state"], token_tensors([encoding]))

    assert states.shape == (1, minilm.MAX_TOKENS, minilm.shape().hidden)
    assert np.abs(states[0] - reference.hidden_states(encoding.ids)).max() < 1e-4


def test_similar_sentences_score_higher_than_unrelated_ones(encoder, tokenizer):
    first = embeddings(encoder, tokenizer, [pair.first for pair in datasets.SENTENCE_PAIRS])
    second = embeddings(encoder, tokenizer, [pair.second for pair in datasets.SENTENCE_PAIRS])
    scores = (first * second).sum(axis=1)

    similar = [score for pair, score in zip(datasets.SENTENCE_PAIRS, scores, strict=True) if pair.is_similar]
    unrelated = [score for pair, score in zip(datasets.SENTENCE_PAIRS, scores, strict=True) if not pair.is_similar]
    assert min(similar) > max(unrelated) + 0.2


def test_the_reference_embeds_as_the_encoder_does(encoder, tokenizer, reference):
    (answer,) = embeddings(encoder, tokenizer, SENTENCES[1:2])

    expected = reference.embedding(tokenizer.encode_batch([SENTENCES[1]])[0].ids)
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_golden_embeddings_are_those_of_the_encoder(repository, encoder, tokenizer):
    golden = json.loads((repository / "minilm" / "1" / "golden.json").read_text())

    answers = embeddings(encoder, tokenizer, golden["inputs"]["text"])
    np.testing.assert_allclose(answers, golden["outputs"]["embedding"], atol=1e-5)


def test_building_never_runs_the_packages_own_code(repository):
    assert (repository / "minilm" / "1" / "model.onnx").is_file()

    assert minilm.PACKAGE not in sys.modules
