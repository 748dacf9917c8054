"""Opens a version: its sessions, and its signature from graph and configuration. Blocks; never called on the event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, LoadFailed
from penstock.contracts.model_config import CompletedModel, ExecutionOptions, InstanceKind, ModelConfig, TextOptions, complete
from services.worker.artefacts import Artefact
from services.worker.inspection import Inspected
from services.worker.onnx_session import OnnxSession, open_session
from services.worker.providers import GPU_PROVIDERS, PROBE_MODEL, capable_providers
from services.worker.repository_look import is_unchanged
from services.worker.reshaping import ReshapingSession
from services.worker.row_by_row import RowByRowSession, has_even_answers
from services.worker.session import ModelSession, Provider, SessionConfig
from services.worker.text import text_session

MAX_LABELS_BYTES = 16 << 20
"""Largest file of class names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where a worker executes."""

    intra_op_threads: int = 1
    """Threads of one execution, for models whose configuration leaves them at 1."""
    device_id: int = 0
    """Number of the GPU, where there is one."""
    providers: Callable[[int], tuple[Provider, ...]] = capable_providers
    """Execution providers that work on a device, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A version that can be executed."""

    inspected: Inspected
    completed: CompletedModel
    sessions: tuple[ModelSession, ...]
    """One an instance; instances of one thread each share one session, and so its weights."""

    @property
    def provider(self) -> str:
        """Name of the execution provider in use."""
        return self.sessions[0].provider


def open_version(inspected: Inspected, device: Device) -> Opened:
    """Open the sessions of a version and complete its configuration.

    Raises:
        LoadFailed: ONNX Runtime refuses the model, or the device that it asks for is not there.
        InvalidInput: the configuration contradicts the graph.
        ArtifactCorrupt: files changed since they were inspected, or cannot be read.
        NotImplementedHere: an input or output is no tensor.
    """
    artefact, config = inspected.artefact, inspected.config
    first = _open(inspected, device)
    text = config.text or TextOptions()
    completed = complete(
        config,
        first.graph,
        name=artefact.model,
        labels=read_labels(artefact, config),
        has_tokenizer=artefact.mark_of(artefact.own_path(text.tokenizer_file)) is not None,
    )
    sessions = _instances(first, completed.config.instance_count, lambda: _open(inspected, device), _session_config(config, device))
    if not is_unchanged(artefact):
        raise ArtifactCorrupt(f"{artefact}: files changed while they were loaded; they are tried again when they are quiet")
    threads = _session_config(config, device).intra_op_threads
    served = {id(one): _as_served(one, completed, artefact, threads) for one in sessions}
    return Opened(inspected=inspected, completed=completed, sessions=tuple(served[id(one)] for one in sessions))


@cache
def start_runtime() -> None:
    """Open and run the smallest model once, so that what ONNX Runtime sets up for a process is not put down to its first version."""
    open_session(PROBE_MODEL, SessionConfig(), (Provider.CPU,), name="probe").run({"x": np.ones(2, dtype=np.float32)}, ["y"])


def read_labels(artefact: Artefact, config: ModelConfig) -> Mapping[str, tuple[str, ...]]:
    """Return the class names of every output that has a file of them, one a line.

    Raises:
        InvalidInput: a file is not among the model's, too large, or not UTF-8.
        ArtifactCorrupt: it cannot be read.
    """
    return {one.name: _labels(artefact, one.label_filename) for one in config.outputs if one.label_filename is not None}


def _labels(artefact: Artefact, name: str) -> tuple[str, ...]:
    mark = artefact.mark_of(name)
    if mark is None:
        raise InvalidInput(f"label_filename {name!r} is not in the model's folder", reason="BAD_VALUE", field="label_filename")
    if mark.size > MAX_LABELS_BYTES:
        raise InvalidInput(f"{name} has {mark.size} bytes, more than the limit of {MAX_LABELS_BYTES}", reason="BAD_VALUE", field=name)
    try:
        lines = (artefact.model_folder / name).read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8 text (byte {error.start})", reason="BAD_VALUE", field=name) from error
    except OSError as error:
        raise ArtifactCorrupt(f"{name} cannot be read: {error.strerror}") from error
    return tuple(line.strip() for line in lines)


def _instances(first: OnnxSession, count: int, open_one: Callable[[], OnnxSession], config: SessionConfig) -> list[OnnxSession]:
    """Return a session for each instance: the same one where it has no threads of its own, so that weights are in memory once."""
    if config.intra_op_threads == 1 and first.provider == Provider.CPU.value:
        return [first] * count
    return [first, *(open_one() for _ in range(count - 1))]


def _open(inspected: Inspected, device: Device) -> OnnxSession:
    config = inspected.config
    session_config = _session_config(config, device)
    providers = wanted_providers(config, device.providers(session_config.device_id))
    session = open_session(inspected.model_file, session_config, providers, name=str(inspected.artefact))
    if _must_be_on_gpu(config) and session.provider not in {one.value for one in GPU_PROVIDERS}:
        raise LoadFailed(
            f"{inspected.artefact}: instance_group asks for KIND_GPU, but no GPU takes the model on this worker: use KIND_CPU, "
            "or name CPUExecutionProvider in execution.providers to fall back to"
        )
    return session


def wanted_providers(config: ModelConfig, capable: tuple[Provider, ...]) -> tuple[Provider, ...]:
    """Return the providers to try, best first: those named that work here, else those that work here and fit the instances' kind.

    Raises:
        InvalidInput: a name is no provider's.
    """
    known = {one.value: one for one in Provider}
    for name in config.execution.providers:
        if name not in known:
            message = f"execution.providers: {name!r} is not known; use {', '.join(known)}"
            raise InvalidInput(message, reason="BAD_VALUE", field="execution.providers")
    if config.execution.providers:
        return tuple(known[name] for name in config.execution.providers if known[name] in capable)
    if any(group.kind is InstanceKind.CPU for group in config.instance_groups):
        return (Provider.CPU,)
    return capable


def _must_be_on_gpu(config: ModelConfig) -> bool:
    is_asked_for = any(group.kind is InstanceKind.GPU for group in config.instance_groups)
    return is_asked_for and Provider.CPU.value not in config.execution.providers


def _session_config(config: ModelConfig, device: Device) -> SessionConfig:
    execution = config.execution
    gpus = [gpu for group in config.instance_groups for gpu in group.gpus]
    is_default = execution.intra_op_threads == ExecutionOptions().intra_op_threads
    return SessionConfig(
        intra_op_threads=device.intra_op_threads if is_default else execution.intra_op_threads,
        inter_op_threads=execution.inter_op_threads,
        allow_spinning=execution.spinning,
        device_id=device.device_id if not gpus or device.device_id in gpus else gpus[0],
    )


def _as_served(session: OnnxSession, completed: CompletedModel, artefact: Artefact, threads: int) -> ModelSession:
    """Put what callers see in front of what the graph takes."""
    if completed.text is not None:
        return text_session(session, completed.text, _tokenizer(artefact, completed.text.options.tokenizer_file))
    paced = session
    if has_even_answers(completed.signature) and threads == 1 and session.provider == Provider.CPU.value:
        paced = RowByRowSession(session)
    if not completed.reshapes:
        return paced
    inputs = {spec.name: completed.reshapes[spec.name] for spec in completed.config.inputs if spec.name in completed.reshapes}
    outputs = {spec.name: spec.dims or () for spec in completed.config.outputs if spec.name in completed.reshapes}
    return ReshapingSession(paced, inputs, outputs, has_rows=completed.signature.has_batch_dimension)


def _tokenizer(artefact: Artefact, name: str) -> bytes:
    try:
        return (artefact.folder / name).read_bytes()
    except OSError as error:
        raise ArtifactCorrupt(f"{artefact}: {name} cannot be read: {error.strerror}") from error
