"""The example repository, built once a session into a folder of its own."""

from pathlib import Path

import onnxruntime
import pytest

from examples import build


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples") / "models"
    build.build_models(folder)
    return folder


@pytest.fixture(scope="session")
def open_version(repository: Path):
    """Open `model/version` in ONNX Runtime as a worker does: one thread."""
    opened = {}

    def open_once(version: str) -> onnxruntime.InferenceSession:
        if version not in opened:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            path = repository / version / "model.onnx"
            opened[version] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return opened[version]

    return open_once
