"""The race's model behind mosec, in an environment of its own: msgpack over HTTP/1, rows as raw FP32 bytes.

Run as `python mosec_app.py --port …` with BENCH_MODEL naming the ONNX file.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime
from mosec import Server, Worker
from mosec.mixin import MsgpackMixin

BATCH_ROWS = 64
WAIT_MS = 2


class Model(MsgpackMixin, Worker):
    """Runs what arrived together as one batch."""

    def __init__(self) -> None:
        """Load the model with one thread that does not spin."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer {"x": bytes} with {"y": bytes}."""
        rows = np.frombuffer(b"".join(one["x"] for one in data), np.float32).reshape(len(data), -1)
        (answers,) = self._session.run(None, {"x": rows})
        return [{"y": answer.tobytes()} for answer in answers]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=1, max_batch_size=BATCH_ROWS, max_wait_time=WAIT_MS)
    server.run()
