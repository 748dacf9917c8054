"""ONNX Runtime behind the session port.

BF16 has no NumPy type and takes a way of its own: inputs as OrtValues, outputs copied from their memory. Everything else goes straight
through `InferenceSession.run`, which releases the GIL.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from time import monotonic
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import structlog

from penstock.contracts.errors import ExecutionFailed, LoadFailed
from penstock.contracts.model_graph import GraphSignature
from penstock.contracts.tensors import AnyArray
from services.worker.memory_shortage import is_shortage, out_of_memory
from services.worker.providers import GPU_PROVIDERS, capable_providers, provider_list
from services.worker.session import Provider, RunHandle, SessionConfig, Terminated

log = structlog.get_logger(__name__)

LOG_SECONDS = 1.0

BF16_TYPE = "tensor(bfloat16)"
BF16_NUMBER = 16
"""onnx.TensorProto.BFLOAT16."""


class OnnxHandle:
    """The brake of one execution."""

    __slots__ = ("options",)

    def __init__(self) -> None:
        self.options: Any = ort.RunOptions()

    @property
    def is_terminated(self) -> bool:
        """Whether `terminate` was called."""
        return bool(self.options.terminate)

    def terminate(self) -> None:
        """Ask the execution to stop at the next operator."""
        self.options.terminate = True


class OnnxSession:
    """A version loaded by ONNX Runtime."""

    def __init__(self, session: Any, provider: Provider, *, name: str = "") -> None:
        """Wrap an `onnxruntime.InferenceSession`; `name` appears in logs."""
        self._session = session
        self._provider = provider
        self._name = name
        self._logged_at = -LOG_SECONDS
        self._unlogged = 0
        self._bf16_inputs = frozenset(one.name for one in session.get_inputs() if one.type == BF16_TYPE)
        self._bf16_outputs = frozenset(one.name for one in session.get_outputs() if one.type == BF16_TYPE)

    @property
    def provider(self) -> str:
        """Name of the execution provider in use."""
        return self._provider.value

    @property
    def graph(self) -> GraphSignature:
        """What the model's file says about its inputs and outputs."""
        session = self._session
        return GraphSignature.of(session.get_inputs(), session.get_outputs(), session.get_overridable_initializers())

    def new_handle(self) -> OnnxHandle:
        """Return a brake for one execution."""
        return OnnxHandle()

    def run(self, feeds: Mapping[str, AnyArray], outputs: Sequence[str], handle: RunHandle | None = None) -> list[AnyArray]:
        """Execute; see `ModelSession.run`."""
        options = handle.options if isinstance(handle, OnnxHandle) else None
        try:
            if self._bf16_inputs or self._bf16_outputs:
                return self._run_bf16(feeds, outputs, options)
            return cast("list[AnyArray]", self._session.run(outputs, feeds, options))
        except Exception as error:
            if handle is not None and handle.is_terminated:
                raise Terminated from error
            self._log_failure(error)
            if is_shortage(error):
                raise out_of_memory() from error
            raise ExecutionFailed("the model's execution failed; the worker's log says why") from error

    def _log_failure(self, error: Exception) -> None:
        """Log at most one failure a second: a poison row fails several executions, and a bad client sends many of them."""
        now = monotonic()
        if now - self._logged_at < LOG_SECONDS:
            self._unlogged += 1
            return
        log.warning("execution_failed", model=self._name, provider=self.provider, error=str(error), unlogged=self._unlogged)
        self._logged_at, self._unlogged = now, 0

    def _run_bf16(self, feeds: Mapping[str, AnyArray], outputs: Sequence[str], options: Any) -> list[AnyArray]:
        # An OrtValue of bit patterns does not keep its array alive. Not ascontiguousarray: it makes a list of a scalar.
        arrays = {name: np.asarray(array, order="C") for name, array in feeds.items()}
        values = {name: _ort_value(array, is_bf16=name in self._bf16_inputs) for name, array in arrays.items()}
        return [_array(value) for value in self._session.run_with_ort_values(outputs, values, options)]


def open_session(model: Path | bytes, config: SessionConfig, providers: Sequence[Provider] | None = None, *, name: str = "") -> OnnxSession:
    """Load a model on the best provider that takes it.

    Args:
        model: the ONNX file, or its bytes.
        config: how to run it.
        providers: which to try, best first; by default those that work on this machine. CPU is always tried last.
        name: for logs.

    Raises:
        LoadFailed: not even the CPU takes it; the message carries ONNX Runtime's reason.
    """
    wanted = [one for one in (providers or capable_providers(config.device_id)) if one in GPU_PROVIDERS]
    source = model if isinstance(model, bytes) else str(model)
    for provider in wanted:
        try:
            session = ort.InferenceSession(source, session_options(config), providers=provider_list(provider, config))
        except Exception as error:  # noqa: BLE001 - a provider that cannot take this model is passed over
            log.warning("provider_refused_model", model=name, provider=provider.value, error=str(error))
            continue
        if session.get_providers()[0] == provider.value:
            return OnnxSession(session, provider, name=name)
        log.warning("provider_refused_model", model=name, provider=provider.value, error="fell back to another provider")
    try:
        session = ort.InferenceSession(source, session_options(config), providers=provider_list(Provider.CPU, config))
    except Exception as error:
        shown = str(error).replace(str(source), Path(source).name) if isinstance(source, str) else str(error)
        raise LoadFailed(f"ONNX Runtime refuses the model: {shown}") from error
    return OnnxSession(session, Provider.CPU, name=name)


def session_options(config: SessionConfig) -> Any:
    """Return ONNX Runtime's form of the setting."""
    options: Any = ort.SessionOptions()
    options.intra_op_num_threads = config.intra_op_threads
    options.inter_op_num_threads = config.inter_op_threads
    if config.inter_op_threads > 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    spinning = "1" if config.allow_spinning else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.add_session_config_entry("session.inter_op.allow_spinning", spinning)
    options.enable_cpu_mem_arena = config.use_memory_arena
    if not config.is_optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # failures are logged here, once, with the model's name
    return options


def _ort_value(array: AnyArray, *, is_bf16: bool) -> Any:
    if is_bf16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, BF16_NUMBER)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _array(value: Any) -> AnyArray:
    if value.data_type() != BF16_TYPE:
        return cast("AnyArray", value.numpy())
    shape = tuple(value.shape())
    if prod(shape) == 0:
        return np.empty(shape, dtype=np.uint16)
    memory = ctypes.string_at(value.data_ptr(), prod(shape) * 2)
    return np.frombuffer(memory, dtype=np.uint16).reshape(shape)
