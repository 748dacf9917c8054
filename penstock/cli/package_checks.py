"""Checks of what is installed: ONNX Runtime with its providers, and what serves gRPC.

Whether a provider works is asked in a process of its own, by the very code that workers ask: a driver that is broken can end the process
that touches it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from penstock.cli._services import server_environment
from penstock.cli.failure import Failure
from penstock.cli.findings import Finding, broken, fine, note, warning

PROBE_SECONDS = 60.0
"""Longest wait for the probe: the first touch of a GPU takes its time."""
PROBE = (
    "import json; from services.worker.providers import capable_providers; print(json.dumps([one.value for one in capable_providers()]))"
)
INSTALL = "pip install 'penstock[serve]'"


def package_findings() -> Iterator[Finding]:
    """Check the packages that servers need."""
    runtime = installed("onnxruntime", "onnxruntime-gpu")
    if runtime is None:
        yield note("onnxruntime", "not installed: this machine calls servers and runs none", INSTALL)
    else:
        yield fine("onnxruntime", runtime)
        yield _providers()
    own = installed("penstock-front")
    if own is not None and find_spec("penstock_front") is not None:
        yield fine("penstock-front", own)
    yield judge_native_front(installed("pygrpc-native"), is_there=find_spec("pygrpc_native") is not None, is_server=runtime is not None)


def judge_native_front(found: str | None, *, is_there: bool, is_server: bool) -> Finding:
    """Judge the native gRPC front; it has wheels for some platforms only, and grpcio does its work elsewhere."""
    if found is not None and is_there:
        return fine("pygrpc-native", found)
    if not is_server:
        return note("pygrpc-native", "not installed; only servers use it")
    return warning("pygrpc-native", "not installed: grpcio serves gRPC instead, at a fraction of the speed", INSTALL)


def judge_providers(code: int, printed: str, complaints: str) -> Finding:
    """Judge what the probe said."""
    last = printed.strip().rpartition("\n")[2]
    try:
        providers: list[str] = json.loads(last)
    except json.JSONDecodeError:
        reason = complaints.strip().rpartition("\n")[2] or f"ended with code {code}"
        return broken("providers", f"the probe failed: {reason}", INSTALL)
    return fine("providers", ", ".join(providers))


def installed(*names: str) -> str | None:
    """Return name and version of the first of these distributions that is installed."""
    for name in names:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return None


def _providers() -> Finding:
    command = [sys.executable, "-P", "-c", PROBE]
    try:
        ended = subprocess.run(
            command, env=server_environment(), capture_output=True, text=True, timeout=PROBE_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except Failure as error:
        return broken("providers", error.message, error.next_step)
    except subprocess.TimeoutExpired:
        return broken("providers", f"the probe did not end within {PROBE_SECONDS:.0f} s: a driver hangs", "nvidia-smi")
    return judge_providers(ended.returncode, ended.stdout, ended.stderr)
