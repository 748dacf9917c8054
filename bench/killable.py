"""Processes that a run kills, stops, continues and starts again: services of the mesh, and real servers by the recipes of `penstock up`.

`penstock up` starts a server again when it dies. Here one that was killed stays down until the run starts it again, on the same ports and
with what its folder held.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.trees import ROOT, CannotServe
from services.chassis.parentage import PARENT_VARIABLE
from services.chassis.process import CannotStart
from services.stack.fetch import cache_folder
from services.stack.free_ports import Ports
from services.stack.postgres_database import home
from services.stack.probes import NotReady
from services.stack.recipe import HOST, Recipe, Site, Sources
from services.stack.server_cache import ServerCache

START_SECONDS = 150.0
"""On a machine that others use, a Java machine may take a minute."""
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.02


class Killable:
    """One process, life after life. Start it from the main thread: it dies with the thread that started it."""

    def __init__(self, name: str, command: tuple[str, ...], log: Path, is_ready: Callable[[], bool]) -> None:
        """Store the arguments; nothing runs yet."""
        self.name = name
        self._command = command
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `wait` says when it can be used."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), PARENT_VARIABLE: str(os.getpid())}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment, cwd=ROOT)
        # The bench keeps to the generator's core: what it measures here is a mesh on the whole machine.
        os.sched_setaffinity(self._process.pid, range(os.cpu_count() or 1))

    def wait(self) -> None:
        """Return when it can be used.

        Raises:
            CannotServe: it ended, or does not answer in time.
        """
        give_up_at = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > give_up_at:
                raise CannotServe(f"{self.name} does not answer; its log ends:\n{self.log_tail()}")
            time.sleep(LOOK_SECONDS)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
            self._process = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Ask it to end; kill it when it does not. Return its exit code, none of what was killed or did not run."""
        self.send(number)
        code: int | None = None
        try:
            if self._process is not None:
                code = self._process.wait(STOP_SECONDS)
                self._process = None
        except subprocess.TimeoutExpired:
            self.kill()
        return code

    def log_text(self) -> str:
        """Return the words of all its lives."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log_tail(self) -> str:
        """Return the last of them."""
        return self.log_text()[-2000:]


def service(folder: Path, kind: str, name: str, settings: Mapping[str, Any]) -> Killable:
    """Return a service of the mesh whose processes share `folder`/s; routers and controllers say when they are ready, workers do not."""
    config, log, ready = folder / f"{name}.json", folder / f"{name}.log", folder / "s" / "ready" / name
    config.write_text(json.dumps({"state_dir": str(folder / "s"), **settings}))
    command = (sys.executable, "-P", "-m", f"services.{kind}", "--config", str(config))

    def is_ready() -> bool:
        # A file of a life that was killed may still lie there.
        return kind == "worker" or (ready.exists() and json.loads(ready.read_text())["pid"] == made.process_id)

    made = _Service(name, command, log, is_ready)
    return made


class _Service(Killable):
    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process is not None else None


class RealServer(Killable):
    """A real server, found and prepared as `penstock up` does."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        """Find the server, fetching it where needed, and prepare its folder.

        Raises:
            CannotStart: it cannot be had; the text names what installs it.
        """
        found = asyncio.run(recipe.find(_sources(folder)))
        ports = free_ports(folder, *recipe.ports)
        site = Site(folder=folder / recipe.name, log=folder / f"{recipe.name}.log", ports=ports)
        site.folder.mkdir(parents=True, exist_ok=True)
        asyncio.run(recipe.prepare(found, site))
        spec = recipe.spec(found, site)
        self.address = f"{HOST}:{ports[recipe.name]}"
        self.folder = site.folder
        self._stop_signal = spec.stop_signal
        self._elsewhere = home(site.folder) if recipe.name == "postgres" else None
        super().__init__(recipe.name, spec.command, site.log, lambda: _answers(recipe, ports[recipe.name]))

    def close(self) -> None:
        """End it, and remove what lies outside its folder."""
        self.end(self._stop_signal)
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)


def is_to_be_had(recipe: Recipe) -> bool:
    """Whether this machine has a server, or can fetch it."""
    try:
        asyncio.run(recipe.find(_sources(Path(tempfile.gettempdir()))))
    except CannotStart:
        return False
    return True


def free_ports(folder: Path, *names: str) -> Mapping[str, int]:
    """Return ports that nobody listens on, the same ones for the same folder and names."""
    return Ports(folder / "ports.json", {}, _say).take(names)


def _sources(logs: Path) -> Sources:
    return Sources(cache=ServerCache(cache_folder(), _say), logs=logs, say=_say)


def _answers(recipe: Recipe, port: int) -> bool:
    try:
        asyncio.run(recipe.answers(HOST, port))
    except NotReady:
        return False
    return True


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
