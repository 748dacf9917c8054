"""The peers: each in its own environment, tuned as its own guide says, with the same ONNX file and the same most rows a batch.

What is set, and why, stands in README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sysconfig
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench import bodies
from bench.environments import PINS, Environment, environment
from bench.model import CLASSES, FEATURES, NAME, rows
from bench.servers import Server
from bench.trees import Start, free_port, own_folder, running

BATCH_ROWS = 64
BATCH_WAIT_SECONDS = 0.002

TRITON_CONFIG = f"""\
backend: "python"
max_batch_size: {BATCH_ROWS}
dynamic_batching {{ }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ {FEATURES} ] }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: [ {CLASSES} ] }} ]
"""


@contextmanager
def mosec_server(work: Path, model: Path) -> Generator[Server]:
    """Run mosec: a Rust front that batches, one Python worker, msgpack over HTTP/1.

    Raises:
        PeerAbsent, CannotServe: it cannot take part.
    """
    installed, port, folder = environment("mosec"), free_port(), own_folder(work, "mosec")
    command = [str(installed.python), str(PINS / "mosec_app.py"), "--address", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    variables = {**os.environ, "BENCH_MODEL": str(model)}
    with running(Start(name="mosec", command=command, log=folder / "log", environment=variables)) as tree:
        server = Server(
            name="mosec",
            tree=tree,
            http_port=port,
            http_body=bodies.msgpack_body,
            count_url=f"http://127.0.0.1:{port}/metrics",
            counts='mosec_service_throughput_total{code="200"',
        )
        tree.wait_until(lambda: server.is_right(rows()))
        yield server


@contextmanager
def mlserver_server(work: Path, model: Path) -> Generator[Server]:
    """Run MLServer with adaptive batching and no extra processes.

    Raises:
        PeerAbsent, CannotServe: it cannot take part.
    """
    installed = environment("mlserver")
    folder = own_folder(work, "mlserver")
    ports = {f"{kind}_port": free_port() for kind in ("http", "grpc", "metrics")}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, "use_structured_logging": False, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    batching = {"max_batch_size": BATCH_ROWS, "max_batch_time": BATCH_WAIT_SECONDS}
    about = {"name": NAME, "implementation": "mlserver_runtime.OnnxRuntime", **batching, "parameters": {"uri": str(model)}}
    (folder / "model-settings.json").write_text(json.dumps(about))
    command = [str(installed.folder / "bin" / "mlserver"), "start", str(folder)]
    variables = {**os.environ, "PYTHONPATH": str(PINS)}
    with running(Start(name="mlserver", command=command, log=folder / "log", environment=variables, folder=folder)) as tree:
        server = Server(
            name="mlserver",
            tree=tree,
            grpc_port=ports["grpc_port"],
            http_port=ports["http_port"],
            http_body=bodies.json_body,
            count_url=f"http://127.0.0.1:{ports['metrics_port']}/metrics",
            counts="model_infer_request_success_total{",
        )
        tree.wait_until(lambda: server.is_right(rows()))
        yield server


@contextmanager
def triton_server(work: Path, model: Path) -> Generator[Server]:
    """Run the C++ tritonserver of the pytriton wheel with its Python backend, ONNX Runtime inside.

    Raises:
        PeerAbsent, CannotServe: it cannot take part.
    """
    installed = environment("triton")
    folder = own_folder(work, "triton")
    repository = _triton_repository(folder / "models", model)
    inside = installed.packages / "pytriton" / "tritonserver"
    _place_stub(inside)
    ports = {kind: free_port() for kind in ("grpc", "http", "metrics")}
    addresses = [f"--{kind}-{what}" for kind, port in ports.items() for what in (f"port={port}", "address=127.0.0.1")]
    backends = f"--backend-directory={inside / 'backends'}"
    command = [str(inside / "bin" / "tritonserver"), f"--model-repository={repository}", backends, *addresses, "--log-info=0"]
    start = Start(name="triton", command=command, log=folder / "log", environment=_triton_variables(installed))
    with running(start) as tree:
        url = f"http://127.0.0.1:{ports['metrics']}/metrics"
        server = Server(
            name="triton", tree=tree, grpc_port=ports["grpc"], http_port=ports["http"], http_body=bodies.json_body, count_url=url
        )
        tree.wait_until(lambda: server.is_right(rows()))
        yield server


RIVALS: Mapping[str, Callable[[Path, Path], AbstractContextManager[Server]]] = {
    "mosec": mosec_server,
    "triton": triton_server,
    "mlserver": mlserver_server,
}
"""The peers by name; each takes a folder to work in and the ONNX file."""


def _triton_repository(folder: Path, model: Path) -> Path:
    version = folder / NAME / "1"
    version.mkdir(parents=True)
    (folder / NAME / "config.pbtxt").write_text(TRITON_CONFIG)
    shutil.copyfile(PINS / "triton_model.py", version / "model.py")
    shutil.copyfile(model, version / "model.onnx")
    return folder


def _place_stub(inside: Path) -> None:
    """Put the stub of this Python next to the backend, where tritonserver looks for it."""
    place = inside / "backends" / "python" / "triton_python_backend_stub"
    if not place.exists():
        shutil.copyfile(inside / "python_backend_stubs" / sysconfig.get_python_version() / place.name, place)
    for program in (place, inside / "bin" / "tritonserver"):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


def _triton_variables(installed: Environment) -> Mapping[str, str]:
    # The stub links libpython: the interpreter's own must come first, an older one of the system breaks it.
    libraries = [str(sysconfig.get_config_var("LIBDIR")), str(installed.packages / "nvidia_pytriton.libs")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "BENCH_PACKAGES": str(installed.packages)}
