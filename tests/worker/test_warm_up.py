"""Warm-up samples run as they are configured, and one that fails is named."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from penstock.contracts.errors import DeadlineExceeded, LoadFailed
from penstock.contracts.model_config import WarmupInput, WarmupSample, WarmupValues
from penstock.contracts.tensors import DataType
from services.worker.sample_inputs import warm_up_feeds
from services.worker.trial import Trial
from services.worker.warm_up import warm_up
from tests.worker import models
from tests.worker.folders import put
from tests.worker.trials import trial_of

ZERO, RANDOM, FILE = WarmupValues.ZERO, WarmupValues.RANDOM, WarmupValues.FILE


def sample(
    values: WarmupValues, datatype: DataType = DataType.FP32, *, rows: int = 2, file: str | None = None, dims: tuple[int, ...] = (2,)
):
    return WarmupSample(name="s", inputs={"x": WarmupInput(datatype=datatype, dims=dims, values=values, file=file)}, batch_size=rows)


@pytest.fixture
def floats() -> Trial:
    return trial_of(models.identity())


def test_zeros_fill_the_whole_batch(floats: Trial, tmp_path: Path):
    feeds = warm_up_feeds(sample(ZERO, rows=3), floats.signature, tmp_path)

    assert feeds["x"].shape == (3, 2)
    assert not feeds["x"].any()


def test_random_numbers_are_the_same_at_every_load_and_small_enough_to_index(floats: Trial, tmp_path: Path):
    one, two = (warm_up_feeds(sample(RANDOM), floats.signature, tmp_path)["x"] for _ in range(2))
    whole = warm_up_feeds(sample(RANDOM, DataType.INT64, rows=100), floats.signature, tmp_path)["x"]

    assert (one == two).all()
    assert one.any()
    assert set(whole.ravel().tolist()) == {0, 1}


@pytest.mark.parametrize("rows_in_file", [1, 3])
def test_a_file_holds_one_row_for_all_or_every_row(floats: Trial, tmp_path: Path, rows_in_file: int):
    numbers = np.arange(2 * rows_in_file, dtype="<f4").reshape(rows_in_file, 2)
    put(tmp_path / "warmup" / "rows", numbers.tobytes())

    feeds = warm_up_feeds(sample(FILE, rows=3, file="rows"), floats.signature, tmp_path)

    assert (feeds["x"] == (numbers if rows_in_file == 3 else np.repeat(numbers, 3, axis=0))).all()


def test_texts_of_a_file_arrive_as_texts(tmp_path: Path):
    trial = trial_of(models.identity(TensorProto.STRING, 1))
    put(tmp_path / "warmup" / "texts", struct.pack("<I", 5) + "café".encode())

    feeds = warm_up_feeds(sample(FILE, DataType.BYTES, file="texts", dims=(1,)), trial.signature, tmp_path)

    assert feeds["x"].tolist() == [["café"], ["café"]]
    assert trial.run(feeds)["y"].tolist() == [["café"], ["café"]]


def test_a_file_of_the_wrong_size_is_refused_with_its_sample(floats: Trial, tmp_path: Path):
    put(tmp_path / "warmup" / "rows", b"123")

    with pytest.raises(LoadFailed, match=r"warm-up 's' failed: .*3 bytes"):
        warm_up(floats, [sample(FILE, file="rows")], tmp_path)


def test_a_missing_file_is_refused_with_its_name(floats: Trial, tmp_path: Path):
    with pytest.raises(LoadFailed, match=r"warmup/gone cannot be read: No such file"):
        warm_up(floats, [sample(FILE, file="gone")], tmp_path)


def test_a_sample_that_the_model_cannot_execute_refuses_the_version(tmp_path: Path):
    trial = trial_of(models.poisonable(limit=1))
    poison = WarmupSample(name="s", inputs={"index": WarmupInput(datatype=DataType.INT64, dims=(1,), values=RANDOM)}, batch_size=8)

    with pytest.raises(LoadFailed, match="warm-up 's' failed: the model's execution failed"):
        warm_up(trial, [poison], tmp_path)


def test_a_warm_up_without_end_can_be_stopped_from_another_thread_and_stays_stopped(tmp_path: Path):
    trial = trial_of(models.looping())
    endless = {"x": np.full((1, 1), -1, np.float32)}
    stopper = threading.Timer(0.05, trial.stop)
    stopper.start()

    with pytest.raises(DeadlineExceeded, match="the load took too long"):
        trial.run(endless)
    stopper.join()
    with pytest.raises(DeadlineExceeded):
        trial.run(endless)
