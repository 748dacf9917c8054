"""Which processes one serve consists of, and the settings file that each of them reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.chassis.atomic_file import write_atomically
from services.chassis.child import ChildSpec
from services.chassis.parentage import python_path
from services.embedded.addresses import Addresses
from services.embedded.run_folder import RunFolder
from services.embedded.settings import EmbeddedSettings


def router_names(settings: EmbeddedSettings) -> tuple[str, ...]:
    """Return the routers' names."""
    return tuple(f"router-{number}" for number in range(settings.routers))


def worker_names(settings: EmbeddedSettings) -> tuple[str, ...]:
    """Return the workers' names."""
    return tuple(f"worker-{number}" for number in range(settings.workers))


def child_spec(service: str, name: str, folder: RunFolder) -> ChildSpec:
    """Return how to start a child; `-P` keeps the current folder off its path."""
    command = (sys.executable, "-P", "-m", f"services.{service}", "--config", str(folder.config(name)))
    return ChildSpec(name=name, command=command, environment={"PYTHONPATH": python_path()})


def write_settings(settings: EmbeddedSettings, served: Addresses, folder: RunFolder) -> None:
    """Write every child's settings; a child that runs sees the change by itself or by SIGHUP."""
    for name in router_names(settings):
        _write(folder.config(name), _router(settings, name, served, folder), settings.router)
    for name in worker_names(settings):
        _write(folder.config(name), _worker(settings, name, folder), settings.worker)


def _router(settings: EmbeddedSettings, name: str, served: Addresses, folder: RunFolder) -> dict[str, Any]:
    return {
        "router_id": name,
        "state_dir": str(folder.path),
        "host": settings.host,
        **({"insecure_bind": True} if settings.insecure_bind else {}),
        "http_port": served.http_port,
        "grpc_port": served.grpc_port,
        "metrics_port": served.metrics_port,
        "reuse_port": True,
        "tenants_file": str(settings.tenants_file.absolute()) if settings.tenants_file else None,
        "drain_seconds": settings.drain_seconds,
        "log_level": settings.log_level,
    }


def _worker(settings: EmbeddedSettings, name: str, folder: RunFolder) -> dict[str, Any]:
    return {
        "worker_id": name,
        "repository": str(settings.repository.absolute()),
        "state_dir": str(folder.path),
        "memory_budget_bytes": settings.memory_budget_bytes,
        "intra_op_threads": settings.intra_op_threads,
        "repository_poll_seconds": settings.repository_poll_seconds,
        "log_level": settings.log_level,
    }


def _write(path: Path, ours: Mapping[str, Any], further: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps({**further, **ours}, indent=2).encode() + b"\n")
