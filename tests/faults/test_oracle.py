"""The models compute what the oracle says, and misbehave when they are asked to."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.faults import oracle


def run(model: str, x: np.ndarray, version: int = 1) -> list[np.ndarray]:
    made = oracle.graph(model, version)
    onnx.checker.check_model(made, full_check=True)
    return ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})


@pytest.mark.parametrize("model", [name for name in oracle.NUMBERS if name != "poison"])
@pytest.mark.parametrize("version", [1, 3])
def test_a_model_answers_what_the_oracle_computes(model: str, version: int):
    y, total, *_ = run(model, oracle.rows_of(41, 5), version)

    assert (*y.ravel().tolist(), *total.tolist()) == oracle.expected(model, str(version), 41, 5)


def test_no_two_requests_versions_or_models_have_the_same_answer():
    answers = [oracle.expected(*key) for key in (("alpha", "1", 1, 1), ("alpha", "1", 2, 1), ("alpha", "2", 1, 1), ("beta", "1", 1, 1))]

    assert len(set(answers)) == 4


def test_fragile_refuses_to_compute_a_bad_row():
    x = oracle.rows_of(1, 3)
    x[1, 2:] = oracle.BAD_ROW["dividend"], oracle.BAD_ROW["divisor"]

    with pytest.raises(Exception, match="division by zero"):
        run("fragile", x)


def test_loose_and_shape_break_their_promises_on_request():
    x = oracle.rows_of(1, 3)
    x[1, 2] = oracle.NEGATIVE
    short = oracle.rows_of(1, 3)
    short[1, 2] = oracle.DROPPED

    assert np.isnan(run("loose", x)[2]).sum() == 1
    assert run("shape", short)[2].shape == (2, 4)
