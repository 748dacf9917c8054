"""What `penstock up --profile demo` does once the mesh answers: two real versions of a model that reads digits, and a split between them.

The versions are carried by every installation, ready-made (deploy/local/demo, from examples/digits.py). What a stack was given before
stays as it is: the second `up` of a name finds its model, its deployments and its traffic again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from penstock.cli._services import services_folder
from penstock.cli.deploy import awaited
from penstock.cli.failure import Failure
from penstock.client.control import Control
from penstock.client.options import ClientOptions
from penstock.client.uploads import files_of, send
from penstock.client.writes import Run, Write
from penstock.contracts.errors import ModelNotFound, ServingError

MODEL, OLD, NEW = "digits", "1", "2"
SHARES = {OLD: 9000, NEW: 1000}
"""In basis points."""
ACTIVE_SECONDS = 120.0
CALL_SECONDS = 60.0
KEY_VARIABLE = "PENSTOCK_API_KEY"
WHY = Write(reason="penstock up --profile demo")


def show_demo(grpc: str, workers: int, say: Callable[[str], None]) -> tuple[str, ...]:
    """Register, deploy and split the demo's model where that was not done before; return the commands to try next.

    Args:
        grpc: `host:port` of a router.
        workers: how many hold each version, at most two.
        say: is told what was done.

    Raises:
        Failure: the mesh runs, and refuses something.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    folder = services_folder() / "deploy" / "local" / "demo"
    options = ClientOptions(timeout_seconds=CALL_SECONDS, api_key=os.environ.get(KEY_VARIABLE) or None)
    try:
        with Control(grpc, options) as control:
            _prepare(control, folder / MODEL, min(workers, 2), say)
    except ServingError as error:
        raise Failure(
            f"the mesh runs, but not the demo's model: {error.message}",
            reason=error.reason,
            next_step=f"set {KEY_VARIABLE} to the key of an administrator, or give the demo another --name",
        ) from None
    row = folder / "row.json"
    return (
        f"penstock predict {MODEL} -d @{row} --grpc {grpc}",
        f"penstock traffic set {MODEL} {OLD}=50 {NEW}=50 --grpc {grpc}",
        f"penstock rollback {MODEL} --grpc {grpc}",
    )


def _prepare(control: Control, folder: Path, replicas: int, say: Callable[[str], None]) -> None:
    try:
        known = control.model(MODEL)
        versions = {one.version for one in known.model.versions}
    except ModelNotFound:
        versions = set[str]()
    if not {OLD, NEW} <= versions:
        _register(control, folder)
        say(f"registered {MODEL}, versions {OLD} and {NEW}")
    deployed = {one.version for one in control.deployments(MODEL)}
    for version in (OLD, NEW):
        if version not in deployed:
            awaited(control, control.deploy(MODEL, version, Run(replicas=replicas), WHY).deployment, ACTIVE_SECONDS)
            say(f"deployed {MODEL}@{version} on {replicas} worker(s)")
    if not {OLD, NEW} <= deployed:
        control.set_traffic(MODEL, SHARES, WHY)
        say(f"{SHARES[OLD] // 100} % of the traffic goes to version {OLD}, {SHARES[NEW] // 100} % to version {NEW}")


def _register(control: Control, folder: Path) -> None:
    files = files_of(folder)
    for file in files:
        send(control, file)
    control.register(MODEL, "", [file.sent for file in files], write=WHY)
