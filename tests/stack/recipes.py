"""Recipes of tests: a server of a few lines, and what they share."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.chassis.child import ChildSpec
from services.chassis.clock import SystemClock
from services.stack.board import Board
from services.stack.free_ports import Ports
from services.stack.probes import redis_answers
from services.stack.recipe import Found, Origin, Site, Sources, server_spec
from services.stack.server_cache import ServerCache
from services.stack.servers import Surroundings

PONG = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    connection.recv(100)
    connection.sendall(b"+PONG\\r\\n")
    connection.close()
"""
FAILING = "import sys; print('the disk is on fire', flush=True); sys.exit(7)"
DEAF = "import time; time.sleep(600)"


@dataclass(frozen=True, kw_only=True)
class Script:
    """A server that is a Python script; its argument is its port."""

    name: str = "pong"
    text: str = PONG
    ports: tuple[str, ...] = ("pong",)
    address: str = ""
    stop_seconds: float = 5.0
    prepared: list[str] = field(default_factory=list[str])

    async def find(self, sources: Sources) -> Found:
        return Found(origin=Origin.PATH, version="1")

    async def prepare(self, found: Found, site: Site) -> None:
        self.prepared.append(str(site.folder))

    def spec(self, found: Found, site: Site) -> ChildSpec:
        return server_spec(self.name, site, (sys.executable, "-c", self.text, str(site.ports[self.ports[0]])))

    async def answers(self, host: str, port: int) -> None:
        await redis_answers(host, port)


def surroundings(folder: Path, *, addresses: Mapping[str, str] | None = None, start_seconds: float = 20.0) -> Surroundings:
    """Return what the servers of a test's stack share."""
    board = Board(folder, "test")
    return Surroundings(
        folder=folder,
        board=board,
        ports=Ports(folder / "ports.json", {}, board.say),
        sources=Sources(cache=ServerCache(folder / "cache", board.say), logs=folder, say=board.say),
        clock=SystemClock(),
        addresses=addresses or {},
        start_seconds=start_seconds,
    )


def news(board: Board) -> list[str]:
    """Return what the board has told so far."""
    return [each["text"] for each in board.document()["news"]]
