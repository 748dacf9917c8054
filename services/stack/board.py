"""What a stack says of itself: `stack.json` in its folder, which `penstock ps`, `down` and `up` read.

Replaced as a whole at every change. `process_start_ticks` tells a living process from a stranger with its id.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from services.chassis.atomic_file import write_atomically
from services.chassis.parentage import start_ticks

RECORD = "stack.json"
MOST_NEWS = 50

log = structlog.get_logger(__name__)


class State(StrEnum):
    """How a server, or the whole stack, is doing."""

    WAITING = "waiting"
    """Its turn has not come."""
    FETCHING = "fetching"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    DOWN = "down"
    """It died and is about to be started again."""
    SILENT = "silent"
    """It runs and does not answer."""
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One server."""

    state: State = State.WAITING
    since_time: float = 0.0
    """When the state began; seconds since the epoch."""
    address: str | None = None
    origin: str | None = None
    version: str | None = None
    pid: int | None = None
    process_start_ticks: int | None = None
    lives: int = 0
    note: str = ""
    """What it waits for, or how its last life ended."""
    log: str | None = None


class Board:
    """The record of one stack."""

    def __init__(self, folder: Path, name: str) -> None:
        """Store the arguments."""
        self._path = folder / RECORD
        self._name = name
        self._started_time = time.time()
        self._entries: dict[str, Entry] = {}
        self._news: list[Mapping[str, Any]] = []
        self._told = 0
        self._mesh: Mapping[str, str] = {}
        self.state = State.STARTING

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All servers by name."""
        return self._entries

    def expect(self, *names: str) -> None:
        """List servers whose turn comes later."""
        for name in names:
            self._entries.setdefault(name, Entry(since_time=time.time()))
        self._write()

    def show(self, name: str, **changes: Any) -> None:
        """Change what is known of a server; a new state begins now."""
        former = self._entries.get(name, Entry())
        if changes.get("state", former.state) is not former.state:
            changes["since_time"] = time.time()
            log.info("server_state", server=name, state=changes["state"].value, note=changes.get("note"))
        if (entry := replace(former, **changes)) != former:
            self._entries[name] = entry
            self._write()

    def tell_mesh(self, addresses: Mapping[str, str]) -> None:
        """Say where the mesh answers: `http`, `grpc` and `metrics`, each `host:port`."""
        self._mesh = addresses
        self._write()

    def become(self, state: State) -> None:
        """Change the state of the whole stack."""
        self.state = state
        log.info("stack_state", state=state.value)
        self._write()

    def say(self, text: str) -> None:
        """Tell whoever watches the start."""
        log.info("stack_news", text=text)
        self._told += 1
        self._news = [*self._news, {"number": self._told, "text": text}][-MOST_NEWS:]
        self._write()

    def document(self) -> Mapping[str, Any]:
        """Return the record."""
        return {
            "name": self._name,
            "state": self.state.value,
            "pid": os.getpid(),
            "process_start_ticks": start_ticks(os.getpid()),
            "started_time": self._started_time,
            "state_dir": str(self._path.parent),
            "mesh": self._mesh,
            "servers": {name: asdict(entry) for name, entry in self._entries.items()},
            "news": self._news,
        }

    def _write(self) -> None:
        write_atomically(self._path, json.dumps(self.document(), indent=2).encode() + b"\n")
