"""A program that examines one version of a stranger, and ends: `python -P -m services.worker.examine < order.json`.

It runs where it can do no harm: before it reads a byte of the version it raises the walls of `services.worker.walls` around itself, and it
dies with whoever started it. What it does then is what a worker does with a version, and the checks of `onnx` before: so what passes here
loads there. The answer is one JSON object on stdout, which says which walls stood; a death without an answer is an answer, too, for whoever
started it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.chassis.parentage import die_with_parent
from services.worker.walls import Walls, raise_walls


def main() -> None:
    """Read the order, examine, answer."""
    die_with_parent()
    order = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    order["own_status"] = _own_status()
    walls = raise_walls(Path(order["model_folder"]), order["limits"])
    os.write(answer, json.dumps(_examined(order) | _told(walls)).encode())


def _own_status() -> int | None:
    try:
        return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _told(walls: Walls) -> dict[str, Any]:
    return {"walls": walls.standing, "missing_walls": walls.missing}


def _examined(order: Mapping[str, Any]) -> dict[str, Any]:
    try:
        # Only now: under the limits, so that what a package allocates at its import counts as well.
        from services.worker.examination import Order, Refused, examine  # noqa: PLC0415
    except (ImportError, MemoryError) as error:
        return {"broken": f"{type(error).__name__}: {error}"}
    wanted = Order(
        model=order["model"],
        version=order["version"],
        model_folder=Path(order["model_folder"]),
        folder_name=order["folder_name"],
        trial_seconds=order["trial_seconds"],
        own_status=order["own_status"],
    )
    try:
        return {"report": examine(wanted)}
    except Refused as refusal:
        return {"refusal": {"reason": refusal.reason, "message": refusal.message}}


if __name__ == "__main__":
    main()
