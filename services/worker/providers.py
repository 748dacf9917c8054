"""Which execution providers work on this machine.

That ONNX Runtime lists a provider says only that it was compiled in: without a driver or a device the session silently runs on the
CPU, or the first execution fails. So a provider counts as capable only after a probe has run on it. Nothing found means CPU.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
import structlog

from services.worker.session import PREFERENCE, Provider, SessionConfig

log = structlog.get_logger(__name__)

PROBE_MODEL = bytes.fromhex(
    "080812003a390a0e0a01780a01781201792203416464120570726f62655a0f0a0178120a0a08080112040a020802"
    "620f0a0179120a0a08080112040a02080242040a001011"
)
"""y = x + x over FP32[2]: the smallest model that needs a kernel; see tests/worker/test_providers.py for its source."""

GPU_PROVIDERS = frozenset({Provider.TENSORRT, Provider.CUDA})


@cache
def capable_providers(device_id: int = 0) -> tuple[Provider, ...]:
    """Return the providers that execute the probe on `device_id`, best first; the CPU is always among them."""
    compiled_in = set(ort.get_available_providers())
    return tuple(one for one in PREFERENCE if one is Provider.CPU or (one.value in compiled_in and passes_probe(one, device_id)))


def provider_list(provider: Provider, config: SessionConfig) -> list[tuple[str, dict[str, Any]]]:
    """Return what ONNX Runtime wants to hear to use `provider` with the CPU behind it."""
    first: list[tuple[str, dict[str, Any]]] = []
    if provider in GPU_PROVIDERS:
        options: dict[str, Any] = {"device_id": config.device_id} | dict(config.provider_options.get(provider.value, {}))
        first = [(provider.value, options)]
    return [*first, (Provider.CPU.value, dict(config.provider_options.get(Provider.CPU.value, {})))]


def passes_probe(provider: Provider, device_id: int = 0) -> bool:
    """Return whether the provider executes the probe by itself on `device_id`."""
    try:
        session = ort.InferenceSession(PROBE_MODEL, _quiet_options(), providers=provider_list(provider, SessionConfig(device_id=device_id)))
        if session.get_providers()[0] != provider.value:
            return False
        (answer,) = session.run(["y"], {"x": np.ones(2, dtype=np.float32)})
        return bool((np.asarray(answer) == 2.0).all())
    except Exception as error:  # noqa: BLE001 - every failure of a foreign library means the same: not capable
        log.warning("provider_not_capable", provider=provider.value, error=str(error))
        return False


def _quiet_options() -> Any:
    options: Any = ort.SessionOptions()
    options.log_severity_level = 4
    return options
