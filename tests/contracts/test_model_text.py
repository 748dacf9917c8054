"""Which models read text, and how."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config import GraphSignature, TextOptions, from_toml
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType
from tests.contracts.graphs import ROWS, completed, graph, tensor

TOKENS = (tensor("input_ids", "B", "T", kind="int64"), tensor("attention_mask", "B", "T", kind="int64"))
SENTENCES = graph(*TOKENS, outputs=(tensor("last_hidden_state", "B", "T", 384), tensor("pooler_output", "B", 384)))


def test_a_sentence_model_beside_its_tokenizer_reads_text_and_gives_embeddings():
    model = completed(None, SENTENCES, has_tokenizer=True)

    assert model.signature.inputs == (TensorSpec(name="text", datatype=DataType.BYTES, shape=(-1,), symbols=("B",), is_text=True),)
    assert model.signature.outputs == (
        TensorSpec(name="embedding", datatype=DataType.FP32, shape=(-1, 384), symbols=("B", "")),
        TensorSpec(name="token_count", datatype=DataType.INT64, shape=(-1, 1), symbols=("B", "")),
    )
    assert model.signature.max_batch_size == 64
    assert model.config.text == TextOptions()
    assert model.text is not None
    assert (model.text.inputs, model.text.output, model.text.is_pooled) == (("input_ids", "attention_mask"), "last_hidden_state", False)
    assert (model.text.size, model.text.token_datatype, model.text.datatype) == (384, DataType.INT64, DataType.FP32)


def test_a_graph_that_pools_by_itself_is_not_pooled_again():
    pooled = graph(*TOKENS, outputs=(tensor("token_embeddings", "B", "T", 8), tensor("sentence_embedding", "B", 8)))

    model = completed(None, pooled, has_tokenizer=True)

    assert model.text is not None
    assert (model.text.output, model.text.is_pooled, model.text.size) == ("sentence_embedding", True, 8)


def test_a_classifier_or_language_model_beside_a_tokenizer_keeps_its_own_tensors():
    for logits in (tensor("logits", "B", 2), tensor("logits", "B", "T", 30522)):
        model = completed(None, graph(*TOKENS, outputs=(logits,)), has_tokenizer=True)

        assert model.text is None
        assert [spec.name for spec in model.signature.inputs] == ["input_ids", "attention_mask"]


def test_a_table_text_serves_an_output_of_any_name():
    model = completed(from_toml("[text]\npooling = 'cls'"), graph(*TOKENS, outputs=(tensor("hidden", "B", "T", 8),)), has_tokenizer=True)

    assert model.text is not None
    assert model.text.output == "hidden"
    assert model.config.text == model.text.options


@pytest.mark.parametrize(
    ("of", "has_tokenizer", "message"),
    [
        (SENTENCES, False, "the version folder has no file 'tokenizer.json'"),
        (ROWS, True, "the model's inputs are x"),
        (graph(tensor("input_ids", "B", "T")), True, "not all INT64 or all INT32"),
        (graph(tensor("input_ids", "B", kind="int64")), True, "not all INT64 or all INT32"),
        (graph(*TOKENS, outputs=(tensor("y", "B", kind="int64"),)), True, "none of the model's outputs"),
    ],
)
def test_a_table_text_that_the_model_cannot_serve_is_refused(of: GraphSignature, has_tokenizer: bool, message: str):
    with pytest.raises(InvalidInput) as caught:
        completed(from_toml("[text]"), of, has_tokenizer=has_tokenizer)

    assert message in caught.value.message
