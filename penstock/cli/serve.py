"""`penstock serve`: becomes the supervisor of routers and workers over a folder of models."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from penstock.cli._services import check_packages, server_command, server_environment
from penstock.cli.serve_records import runtime_folder

_PORT = click.IntRange(0, 65535)
_PROCESSES = click.IntRange(1, 64)
_LEVELS = click.Choice(["debug", "info", "warning", "error", "critical"])
_FOLDER = click.Path(path_type=Path, resolve_path=True)


@click.command()
@click.argument("repository", required=False, type=_FOLDER)
@click.option("--http-port", type=_PORT, help="Port of HTTP; 0 takes a free one. [default: 8000]")
@click.option("--grpc-port", type=_PORT, help="Port of gRPC; 0 takes a free one. [default: 8001]")
@click.option("--metrics-port", type=_PORT, help="Port of /metrics; 0 takes a free one. [default: 8002]")
@click.option("--host", help="Address of HTTP and gRPC. [default: 127.0.0.1]")
@click.option("--metrics-host", help="Address of /metrics, which asks nobody for a key. [default: 127.0.0.1]")
@click.option("--insecure-bind", is_flag=True, default=None, help="Let --host be one that other machines reach without TLS or keys.")
@click.option("--workers", type=_PROCESSES, help="Worker processes; each serves every model. [default: 1]")
@click.option("--routers", type=_PROCESSES, help="Router processes; they share the ports. [default: 1]")
@click.option("--tenants-file", type=_FOLDER, metavar="FILE", help="Tenants, keys and quotas in TOML. [default: open to everybody]")
@click.option("--memory-budget-bytes", type=click.IntRange(min=0), help="Memory for the models of one worker. [default: no limit]")
@click.option("--intra-op-threads", type=click.IntRange(0, 512), help="Threads of one execution; 0 is one a core. [default: 1]")
@click.option("--drain-seconds", type=click.FloatRange(min=0), help="Longest wait for calls in flight at the end. [default: 30]")
@click.option("--state-dir", type=_FOLDER, help="Folder of sockets and overrides; a named one is kept. [default: a new one]")
@click.option("--log-level", type=_LEVELS, help="Least level that is logged. [default: info]")
@click.option("--config", type=_FOLDER, metavar="FILE", help="Settings in JSON, or in TOML when the name ends in .toml.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="One setting, also of all routers or workers: router.NAME=VALUE."
)
def serve(repository: Path | None, config: Path | None, settings: tuple[str, ...], **options: Any) -> None:
    """Serve the models of the folder REPOSITORY over HTTP and gRPC.

    The folder is a Triton model repository: <model>/<version>/model.onnx, with config.pbtxt or model.toml where wanted. New and removed
    versions are picked up while it runs.

    What is not given here comes from PENSTOCK_EMBEDDED__NAME in the environment, then from --config, then from the defaults. SIGHUP reads
    it again, SIGTERM and Ctrl-C finish the calls in flight and end.
    """
    if repository is None and config is None and "PENSTOCK_EMBEDDED__REPOSITORY" not in os.environ:
        raise click.UsageError("Missing argument 'REPOSITORY': name the folder that holds <model>/<version>/model.onnx")
    check_packages()
    given = {"repository": repository, "runtime_dir": runtime_folder(), **options}
    arguments = [f"--set={name}={_written(value)}" for name, value in given.items() if value is not None]
    if config is not None:
        arguments.append(f"--config={config}")
    command = server_command("embedded", *arguments, *(f"--set={each}" for each in settings))
    environment = server_environment()
    sys.stdout.flush()
    # The supervisor takes this process over: signals, process id and terminal are its own.
    os.execve(command[0], command, environment)  # noqa: S606  no shell: arguments stay what they are


def _written(value: object) -> str:
    return json.dumps(str(value)) if isinstance(value, Path) else json.dumps(value)
