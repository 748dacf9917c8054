"""Ports of the servers: those that were asked for, else those of the last time, else free ones.

A stack keeps its ports over restarts, so that clients and a broker's own records of itself go on being right.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from services.chassis.atomic_file import write_atomically
from services.chassis.ports import Wanted, check_free
from services.stack.recipe import HOST

RANGE = range(20_000, 32_000)
"""Below what Linux gives to outgoing connections: nothing else takes a port between choice and use."""
ATTEMPTS = 200


class Ports:
    """Hands out the ports of one stack, and remembers them in its folder."""

    def __init__(self, memory: Path, asked: Mapping[str, int], say: Callable[[str], None]) -> None:
        """Store the arguments; `asked` holds ports by name, 0 for a free one."""
        self._memory = memory
        self._asked = asked
        self._say = say
        self._given: dict[str, int] = {}

    def take(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return a port for every name.

        Raises:
            CannotStart: a port that was asked for is taken; says by whom and which option chooses another.
        """
        former = _read(self._memory)
        taken = {name: self._choose(name, former.get(name)) for name in names}
        write_atomically(self._memory, json.dumps({**former, **taken}, indent=2).encode() + b"\n")
        return taken

    def _choose(self, name: str, former: int | None) -> int:
        if asked := self._asked.get(name, 0):
            check_free(HOST, Wanted(option=f"--{name}-port", port=asked))
            port = asked
        elif former is not None and _is_free(former) and former not in self._given.values():
            port = former
        else:
            if former is not None:
                self._say(f"port {former}, which {name} had the last time, is taken: it gets another one")
            port = self._free_one()
        self._given[name] = port
        return port

    def _free_one(self) -> int:
        for _ in range(ATTEMPTS):
            port = random.choice(RANGE)
            if port not in self._given.values() and _is_free(port):
                return port
        with socket.create_server((HOST, 0)) as probe:
            return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A former server's connections that linger (TIME_WAIT) hinder nobody: Java, Go, Redis and PostgreSQL all set this.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _read(path: Path) -> dict[str, int]:
    try:
        ports: dict[str, int] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return ports
