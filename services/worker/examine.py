"""A program that examines one version of a stranger, and ends: `python -P -m services.worker.examine < order.json`.

It runs where it can do no harm: before it reads a byte of the version it lowers its own limits (memory, processor time, open files, size of
files it writes), cuts itself off from the network where the kernel lets it, and dies with whoever started it. What it does then is what a
worker does with a version, and the checks of `onnx` before: so what passes here loads there. The answer is one JSON object on stdout; a
death without an answer is an answer, too, for whoever started it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.chassis.parentage import die_with_parent

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38


def lower_limits(limits: Mapping[str, int]) -> None:
    """Give up what an examination does not need; never to be had back."""
    own = {
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, wanted in own.items():
        _, hard = resource.getrlimit(kind)
        lowest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (lowest, lowest))
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def cut_network() -> bool:
    """Move into a network of its own, which has no interface; say whether the kernel lets it.

    With a user namespace of its own where that is possible: root's child loses its powers over the machine, and nobody's child may do it.
    """
    libc = ctypes.CDLL(None)
    return libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0 or libc.unshare(_CLONE_NEWNET) == 0


def main() -> None:
    """Read the order, examine, answer."""
    die_with_parent()
    order = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    is_cut = cut_network()
    lower_limits(order["limits"])
    os.write(answer, json.dumps(_examined(order, is_cut=is_cut)).encode())


def _examined(order: Mapping[str, Any], *, is_cut: bool) -> dict[str, Any]:
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
    )
    try:
        return {"report": examine(wanted) | {"network_is_cut": is_cut}}
    except Refused as refusal:
        return {"refusal": {"reason": refusal.reason, "message": refusal.message}}


if __name__ == "__main__":
    main()
