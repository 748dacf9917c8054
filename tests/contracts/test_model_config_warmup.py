"""Warm-up samples that a model cannot take are refused."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config import GraphSignature, from_toml
from tests.contracts.graphs import FIXED, ROWS, completed, graph, tensor


def warmup(batch_size: int = 1, name: str = "x", kind: str = "FP32", dims: str = "[30]") -> str:
    inputs = f"{{{name} = {{data_type = '{kind}', dims = {dims}, random_data = true}}}}"
    return f"model_warmup = [{{name = 'w', batch_size = {batch_size}, inputs = {inputs}}}]"


@pytest.mark.parametrize(
    ("text", "of", "message"),
    [
        (warmup(batch_size=65), ROWS, "is 65, but must be 1 to max_batch_size 64"),
        (warmup(batch_size=0), ROWS, "is 0, but must be 1 to max_batch_size 64"),
        (warmup(batch_size=2, dims="[1, 30]"), FIXED, "is 2, but the model has no batch dimension"),
        (warmup(name="z"), ROWS, "names inputs that the model does not have: 'z'"),
        (warmup(), graph(tensor("x", "N", 30), tensor("z", "N")), "leaves out inputs: 'z'"),
        (warmup(kind="FP64"), ROWS, "is TYPE_FP64, but the input is TYPE_FP32"),
        (warmup(dims="[31]"), ROWS, "are [31], but the input has [30]"),
        (warmup(dims="[1, 30]"), ROWS, "are [1, 30], but the input has [30]"),
    ],
)
def test_a_warmup_that_the_model_cannot_take_is_refused(text: str, of: GraphSignature, message: str):
    with pytest.raises(InvalidInput) as caught:
        completed(from_toml(text), of)

    assert message in caught.value.message


def test_a_warmup_that_fits_is_kept():
    assert completed(from_toml(warmup(batch_size=64))).config.warmup[0].batch_size == 64
    assert completed(from_toml(warmup(batch_size=0, dims="[1, 30]")), FIXED).config.warmup[0].batch_size == 0
