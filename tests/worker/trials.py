"""Trials of real sessions for tests."""

from __future__ import annotations

import onnxruntime as ort

from penstock.contracts.model_config import GraphSignature, ModelConfig, complete
from services.worker.onnx_session import open_session
from services.worker.session import SessionConfig
from services.worker.trial import Trial


def trial_of(onnx: bytes, config: ModelConfig | None = None) -> Trial:
    """Open a model and complete its configuration."""
    described = ort.InferenceSession(onnx)
    completed = complete(config, GraphSignature.of(described.get_inputs(), described.get_outputs()), name="m")
    return Trial(open_session(onnx, SessionConfig()), completed.signature)
