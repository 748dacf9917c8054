"""What all parts of a run share: the model, the settings, the figures, and servers that stand as long as memory allows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc

from bench.environments import PeerAbsent
from bench.figures import Figures
from bench.model import Floats, rows
from bench.servers import Server
from bench.trees import CannotServe

ROOMY_BYTES = 4 * 1024**3
"""Available memory above which all servers of the race are alive at once."""

Starter = Callable[[], AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """One run of the bench."""

    work: Path
    model: Path
    expected: Floats
    """What the model says to `rows()`."""
    rounds: int
    seconds: float
    is_plain: bool
    figures: Figures
    flips: int = 30
    """How often traffic is moved and rolled back."""
    outage_seconds: float = 60.0
    """How long what was killed stays down."""


class Paddock:
    """Gives servers by name: all stay alive while there is memory, otherwise each is started for its turn and ended after it."""

    def __init__(self, arena: Arena, starters: Mapping[str, Starter], *, required: tuple[str, ...]) -> None:
        """Keep the starters; those that are not required may be absent, and are reported then."""
        self._arena = arena
        self._starters = dict(starters)
        self._required = required
        self._stays = available_bytes() > ROOMY_BYTES
        self._alive: dict[str, Server] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what is alive."""
        self._stack.close()

    @contextmanager
    def turn(self, name: str) -> Generator[Server | None]:
        """Give a server that answers rightly; None when it cannot take part."""
        if name not in self._starters:
            yield None
            return
        with ExitStack() as once:
            stack = self._stack if self._stays else once
            server = self._started(name, stack)
            if server is not None:
                try:
                    server.check(rows(), self._arena.expected)
                except (grpc.RpcError, OSError) as error:
                    server = self._anew(name, stack, f"{name} no longer answers: {error}: {server.tree.last_words()}")
            yield server

    def _started(self, name: str, stack: ExitStack) -> Server | None:
        try:
            server = self._alive.get(name) or stack.enter_context(self._starters[name]())
        except (PeerAbsent, CannotServe) as error:
            if name in self._required:
                raise SystemExit(str(error)) from error
            self._arena.figures.leave_out(f"peers.{name}", str(error))
            del self._starters[name]
            return None
        if self._stays:
            self._alive[name] = server
        return server

    def _anew(self, name: str, stack: ExitStack, why: str) -> Server | None:
        """Start a peer again that died between its turns; what is ours must not die.

        Raises:
            SystemExit: it is no peer.
        """
        if name in self._required:
            raise SystemExit(why)
        print(f"{why[:2000]}\n{name} is started again", file=sys.stderr)
        self._alive.pop(name, None)
        server = self._started(name, stack)
        if server is not None:
            server.check(rows(), self._arena.expected)
        return server


def available_bytes() -> int:
    """Return the memory that can be had."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024
