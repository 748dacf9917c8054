"""What changes a route past the controller: the servers' code does it, in a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.cli._services import check_emergency_packages, server_command, server_environment
from penstock.cli.failure import Failure

NEXT_STEPS = {
    "BUS_AWAY": "name the routers' admin sockets: --router unix:STATE_DIR/admin/ROUTER.sock",
    "BUS_REFUSED": "correct the setting, in the file of --bus or as PENSTOCK_BUS__…; or go to the routers themselves with --router",
    "SETTINGS": "correct the file of --bus, or the variables PENSTOCK_BUS__…",
    "ROUTER_AWAY": "check the socket's path, and that the key's line stands in the routers' break_glass_keys",
    "ROLLBACK_TARGET": "--to VERSION",
}


def run_emergency(*arguments: str) -> dict[str, Any]:
    """Return the answer of `python -m services.emergency`.

    Raises:
        Failure: packages are missing, or it refused.
    """
    check_emergency_packages()
    return answer_of("emergency", *arguments, failed="the glass could not be broken")


def answer_of(service: str, *arguments: str, failed: str) -> dict[str, Any]:
    """Return the JSON object that a command of the servers' code prints last; `failed` says what it means when there is none.

    Raises:
        Failure: there is none, or it holds an error.
    """
    ended = subprocess.run(server_command(service, *arguments), env=server_environment(), capture_output=True, check=False)
    lines = ended.stdout.decode(errors="replace").splitlines()
    try:
        answer: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        answer = {}
    if not answer:
        raise Failure(f"{failed}: {ended.stderr.decode(errors='replace')[-500:]}")
    if error := answer.get("error"):
        raise Failure(error["message"], reason=error["reason"], next_step=NEXT_STEPS.get(error["reason"], ""))
    return answer


def roll_back(model: str, version: str, key: Path, where: Sequence[str]) -> dict[str, Any]:
    """Sign and publish a route that gives everything to a version, or without one puts the shares of before back; `where` is options."""
    return run_emergency("rollback", f"--model={model}", f"--to={version}", f"--key={key}", *where)


def told(answer: dict[str, Any]) -> str:
    """Return what people read."""
    shares = ", ".join(f"{version} {share / 100:g} %" for version, share in answer["shares"].items())
    lines = [f"{answer['model']}: {shares} (revision {answer['revision']}, signed by {answer['operator']})"]
    for router, seconds in sorted(answer["confirmations"].items()):
        lines.append(f"  {router}: {'no word' if seconds is None else f'{seconds:.3f} s'}")
    if not answer["confirmations"]:
        lines.append("  no router was heard of")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in answer["warnings"])])
