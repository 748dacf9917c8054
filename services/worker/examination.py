"""Everything that is asked of a version before it is registered. Blocks; run in a process of its own by `services.worker.examine`.

files are plain → configuration and names → the graph by `onnx` → loaded, warmed up and run by ONNX Runtime. The first that fails refuses.
"""

from __future__ import annotations

import os
import re
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from penstock.contracts.errors import DeadlineExceeded, OutputContract, ServingError
from penstock.contracts.feature_schema import FeatureSchema
from penstock.contracts.signature import TensorSpec
from services.worker.artefacts import Artefact, FileMark
from services.worker.digests import Digests
from services.worker.golden import check_golden
from services.worker.graph_checks import GraphRefused, check_graph
from services.worker.graph_versions import graph_file, is_graph, read_version
from services.worker.inspection import Inspected, inspect
from services.worker.opening import Device, Opened, open_version
from services.worker.output_checks import check_alike
from services.worker.reconciliation import Offer
from services.worker.sample_inputs import plain_feeds, repeated
from services.worker.session import Provider
from services.worker.trial import Feeds, Trial, breach
from services.worker.warm_up import warm_up

GRAPH_MEMORY_BYTES = 1 << 20
"""What a graph counts for on the worker that holds it: routers run it."""

STATUS_BYTES = 1 << 14
"""More than the kernel says of a process."""

OUT_OF_MEMORY = re.compile(
    r"bad_alloc|fail(?:ed|ure) to allocate|MemoryError|out of memory|Cannot allocate memory|bad array new|require more than \d+ bytes",
    re.IGNORECASE,
)


class Refused(Exception):
    """The version is not registered."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the facts; `reason` is one of `InvalidInput`'s finer ones."""
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to examine."""

    model: str
    version: str
    model_folder: Path
    folder_name: str
    """Name of the version's own folder in it."""
    trial_seconds: float = 20.0
    """Longest that all its executions may take."""
    own_status: int | None = None
    """Descriptor of this process's /proc/self/status, opened before the walls."""


def examine(order: Order) -> dict[str, Any]:
    """Return what a version is.

    Raises:
        Refused: with the reason; the version must not be registered.
    """
    artefact = _artefact(order)
    try:
        if is_graph(artefact):
            return _examined_graph(artefact)
        inspected = inspect(Offer(artefact=artefact), Digests())
        graph = check_graph(inspected.model_file)
        started_at = time.monotonic()
        opened = open_version(inspected, Device(providers=lambda _: (Provider.CPU,)))
        loaded_at = time.monotonic()
        note = _tried(opened, order.trial_seconds)
    except GraphRefused as refusal:
        raise Refused("BAD_MODEL", str(refusal)) from refusal
    except (ServingError, MemoryError) as error:
        raise _refusal(error) from error
    features = opened.completed.config.features
    return graph | {
        "features": _features(features) if features else {},
        "feature_hash": features.hash if features else "",
        "inputs": [_tensor(one) for one in opened.completed.signature.inputs],
        "outputs": [_tensor(one) for one in opened.completed.signature.outputs],
        "max_batch_size": opened.completed.signature.max_batch_size,
        "model_file": str(inspected.model_file.relative_to(order.model_folder)),
        "external_files": _external_files(inspected),
        "named_files": _named_files(inspected),
        "ignored_settings": list(inspected.config.ignored),
        "trial_note": note,
        "load_seconds": round(loaded_at - started_at, 3),
        "trial_seconds": round(time.monotonic() - loaded_at, 3),
        "peak_memory_bytes": peak_memory_bytes(order.own_status),
        "onnxruntime_version": str(ort.__version__),
    }


def peak_memory_bytes(own_status: int | None) -> int:
    """Return the most memory that this program has had.

    getrusage(2) says what the process ever had, whoever forked it included: under a controller of a gigabyte every version had one.
    """
    status = os.pread(own_status, STATUS_BYTES, 0) if own_status is not None else b""
    found = re.search(rb"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return 1024 * (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _examined_graph(artefact: Artefact) -> dict[str, Any]:
    """Return what a graph is; whether its steps are there and fit is asked where versions are known."""
    version = read_version(Offer(artefact=artefact))
    graph = version.graph
    return {
        "framework": "penstock graph",
        "graph": version.text,
        "steps": [{"step": step.name, "model": step.model, "version": step.version} for step in graph.steps if step.model],
        "inputs": [_tensor(one) for one in graph.signature.inputs],
        "outputs": [_tensor(one) for one in graph.signature.outputs],
        "max_batch_size": graph.signature.max_batch_size,
        "model_file": graph_file(artefact),
        "external_files": [],
        "named_files": [],
        "peak_memory_bytes": GRAPH_MEMORY_BYTES,
    }


def _artefact(order: Order) -> Artefact:
    folder = order.model_folder.resolve()
    marks = [FileMark.of(str(path.relative_to(folder)), path.lstat()) for path in sorted(folder.rglob("*")) if not path.is_dir()]
    files = tuple(sorted(marks, key=lambda mark: mark.path))
    return Artefact(model=order.model, version=order.version, model_folder=folder, files=files, folder_name=order.folder_name)


def _tried(opened: Opened, seconds: float) -> str:
    """Warm up, check examples, and run once with plain inputs when no sample is given; return a note when those do not fit."""
    artefact, config = opened.inspected.artefact, opened.completed.config
    trial = Trial(opened.sessions[0], opened.completed.signature)
    watchdog = threading.Timer(seconds, trial.stop)
    watchdog.daemon = True
    watchdog.start()
    try:
        warm_up(trial, config.warmup, artefact.model_folder)
        check_golden(trial, config.golden, artefact.folder)
        return "" if config.warmup else _plainly_run(trial)
    finally:
        watchdog.cancel()


def _plainly_run(trial: Trial) -> str:
    """Run with zeros, which nobody has said that the model takes: only lack of time or memory, or a broken signature, speaks against it."""
    try:
        _run_plainly(trial, plain_feeds(trial.signature))
    except DeadlineExceeded:
        raise
    except OutputContract as error:
        raise breach(error) from error
    except ServingError as error:
        if _is_memory(error):
            raise
        return "it was not executed: it does not take inputs of zeros; add a model_warmup sample that it takes"
    return ""


def _run_plainly(trial: Trial, feeds: Feeds) -> None:
    alone = trial.run(feeds)
    if trial.signature.max_batch_size > 1:
        check_alike(alone, trial.run(repeated(feeds, 2)))


def _refusal(error: ServingError | MemoryError) -> Refused:
    if _is_memory(error) or not isinstance(error, ServingError):
        return Refused("MODEL_TOO_HUNGRY", "the model needs more memory than an examination may use")
    if any(isinstance(cause, DeadlineExceeded) for cause in _causes(error)):
        return Refused("MODEL_TOO_SLOW", "executing the model did not end in time; if it does not take zeros, add a model_warmup sample")
    return Refused(error.reason if error.reason in {"BAD_VALUE", "FEATURE_SCHEMA_MISMATCH"} else "BAD_MODEL", error.message)


def _is_memory(error: BaseException) -> bool:
    return any(isinstance(cause, MemoryError) or OUT_OF_MEMORY.search(str(cause)) for cause in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = [error]
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


def _features(schema: FeatureSchema) -> dict[str, Any]:
    columns = [{"name": one.name, "data_type": one.datatype.value, "unit": one.unit} for one in schema.columns]
    return {"view": schema.view, "columns": columns}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape), "optional": spec.optional}


def _external_files(inspected: Inspected) -> list[str]:
    return [f"{inspected.model_file.parent.name}/{name}" for name in inspected.external_names]


def _named_files(inspected: Inspected) -> list[str]:
    """Return the files that the configuration names, wherever they are."""
    config = inspected.config
    own = [*(one.file for one in config.golden), *([config.text.tokenizer_file] if config.text else [])]
    beside = [one.label_filename for one in config.outputs if one.label_filename]
    return [*(inspected.artefact.own_path(name) for name in own), *beside]
