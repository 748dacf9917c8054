"""A version is opened as its configuration says, on a device that is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, LoadFailed
from services.worker.digests import Digests
from services.worker.inspection import Inspected, inspect
from services.worker.opening import Device, Opened, open_version
from services.worker.reconciliation import Offer
from services.worker.repository_look import look_at_repository
from services.worker.session import Provider
from tests.worker import models
from tests.worker.folders import put

CPU_ONLY = Device(providers=lambda device_id: (Provider.CPU,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "m" / "1" / "model.onnx", models.row_sum())
    return tmp_path / "m"


def inspected(folder: Path) -> Inspected:
    return inspect(Offer(artefact=look_at_repository(folder.parent).models["m"].versions["1"]), Digests())


def opened(folder: Path, device: Device = CPU_ONLY, **config: object) -> Opened:
    if config:
        put(folder / "config.pbtxt", " ".join(f"{key} {value}" for key, value in config.items()))
    return open_version(inspected(folder), device)


def test_a_version_without_configuration_is_completed_from_its_graph(folder: Path):
    found = opened(folder)

    assert [str(spec) for spec in found.completed.signature.outputs] == ["sum FP32[-1,1]"]
    assert (found.provider, len(found.sessions)) == ("CPUExecutionProvider", 1)


def test_calls_of_a_model_without_inputs_do_not_run_together(folder: Path):
    put(folder / "1" / "model.onnx", models.without_inputs())
    found = opened(folder)

    assert found.completed.signature.max_batch_size == 0
    assert [places.tolist() for places in found.sessions[0].run({}, ["places"])] == [[[1], [3]]]


def test_instances_of_one_thread_share_their_weights_and_others_do_not(folder: Path):
    shared = opened(folder, instance_group="{ count: 3 }")
    own = opened(folder, Device(intra_op_threads=2, providers=CPU_ONLY.providers))

    assert (len(shared.sessions), len({id(one) for one in shared.sessions})) == (3, 1)
    assert (len(own.sessions), len({id(one) for one in own.sessions})) == (3, 3)


def test_a_model_that_must_run_on_a_gpu_is_refused_without_one(folder: Path):
    with pytest.raises(LoadFailed, match="asks for KIND_GPU, but no GPU takes the model on this worker: use KIND_CPU"):
        opened(folder, instance_group="{ kind: KIND_GPU }")


def test_a_model_that_may_fall_back_does(folder: Path):
    put(
        folder / "model.toml",
        '[[instance_group]]\nkind = "KIND_GPU"\n[execution]\nproviders = ["CUDAExecutionProvider", "CPUExecutionProvider"]',
    )

    assert opened(folder).provider == "CPUExecutionProvider"


def test_a_provider_that_nobody_knows_is_refused(folder: Path):
    put(folder / "model.toml", 'execution = { providers = ["AbacusExecutionProvider"] }')

    with pytest.raises(InvalidInput, match="'AbacusExecutionProvider' is not known; use TensorrtExecutionProvider"):
        opened(folder)


def test_class_names_are_read_from_the_models_folder(folder: Path):
    put(folder / "labels.txt", "none\nsome\n")

    found = opened(folder, output='{ name: "sum" label_filename: "labels.txt" }')

    assert found.completed.signature.outputs[0].labels == ("none", "some")


@pytest.mark.parametrize(
    ("name", "content", "reason"), [("gone.txt", None, "is not in the model's folder"), ("labels.txt", b"\xff", "not UTF-8")]
)
def test_class_names_that_cannot_be_read_are_refused(folder: Path, name: str, content: bytes | None, reason: str):
    if content is not None:
        put(folder / name, content)

    with pytest.raises(InvalidInput, match=reason):
        opened(folder, output=f'{{ name: "sum" label_filename: "{name}" }}')


def test_callers_may_see_another_shape_than_the_graph(folder: Path):
    found = opened(
        folder,
        max_batch_size=": 4",
        input='{ name: "x" dims: [3, 1] reshape { shape: [3] } }',
        output='{ name: "sum" dims: [] reshape { shape: [1] } }'.replace("dims: []", "dims: [1, 1]"),
    )

    (answer,) = found.sessions[0].run({"x": np.ones((2, 3, 1), np.float32)}, ["sum"])

    assert found.completed.signature.inputs[0].shape == (-1, 3, 1)
    assert (answer.shape, answer.ravel().tolist()) == ((2, 1, 1), [3.0, 3.0])


def test_a_version_with_a_tokenizer_is_served_as_texts(folder: Path):
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "one": 1, "two": 2, "[UNK]": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    put(folder / "1" / "model.onnx", models.token_embedding())
    put(folder / "1" / "tokenizer.json", tokenizer.to_str())
    put(folder / "model.toml", "text = { normalize = false }")

    found = opened(folder)
    (answer,) = found.sessions[0].run({"text": np.array(["one", "two two"], dtype=object)}, ["embedding"])

    assert [str(spec) for spec in found.completed.signature.inputs] == ["text BYTES[-1]"]
    assert answer[:, 0].tolist() == [1.0, 2.0]


def test_a_tokenizer_that_is_none_is_refused(folder: Path):
    put(folder / "1" / "model.onnx", models.token_embedding())
    put(folder / "1" / "tokenizer.json", json.dumps({"model": "none"}))

    with pytest.raises(LoadFailed, match=r"tokenizer\.json is no tokenizer"):
        opened(folder)


def test_files_that_change_between_inspection_and_opening_are_not_served(folder: Path):
    before = inspected(folder)

    put(folder / "1" / "model.onnx", models.row_sum(7))

    with pytest.raises(ArtifactCorrupt, match="files changed while they were loaded"):
        open_version(before, CPU_ONLY)


def test_what_onnx_runtime_refuses_is_refused_with_its_reason(folder: Path):
    put(folder / "1" / "model.onnx", b"\x08\x07")

    with pytest.raises(LoadFailed, match="ONNX Runtime refuses the model"):
        opened(folder)
