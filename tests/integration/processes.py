"""Services as processes of their own, and how a test waits for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@contextmanager
def process(folder: Path, service: str, *, name: str = "", **settings: Any) -> Iterator[Path]:
    """Run one service and give out its log; it must end with 0 when asked to. Several of a kind need names."""
    config, log = folder / f"{name or service}.json", folder / f"{name or service}.log"
    config.write_text(json.dumps({"state_dir": str(folder / "s"), **settings}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_PARENT_PID": str(os.getpid())}
    with log.open("wb") as out:
        child = subprocess.Popen([sys.executable, "-P", "-m", f"services.{service}", "--config", str(config)], stderr=out, env=environment)
    try:
        yield log
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0, log.read_text()[-2000:]


def until(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.02)


def events(log: Path, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]
