"""The race's model behind Triton's Python backend; Triton's dynamic batcher decides which requests arrive here together."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.append(os.environ["BENCH_PACKAGES"])  # the stub ignores PYTHONPATH

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Joins the requests of a call, runs once and takes the answers apart."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model with one thread that does not spin."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the rows of `x` with `y`."""
        parts = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        (answers,) = self._session.run(None, {"x": np.concatenate(parts)})
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return [pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("y", part)]) for part in np.split(answers, ends)]
