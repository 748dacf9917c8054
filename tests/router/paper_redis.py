"""A Redis on paper: the few commands that the shared tier uses, and whatever misbehaviour a test needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.chassis.redis_client import Command


@dataclass
class PaperRedis:
    """Answers as Redis does; what lives for how long is written down, and never ends by itself."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    lives: dict[bytes, int] = field(default_factory=dict)
    """Milliseconds."""
    is_there: bool = True
    """What the breaker would say."""
    is_deaf: bool = False
    """Nothing is replied to."""
    refuses: bool = False
    """Every command is refused, as for want of memory."""
    asked: list[Sequence[Command]] = field(default_factory=list)
    """Pipelines."""
    passing: asyncio.Event | None = None
    """Replies wait for it, when it is set to one."""

    async def ask(self, commands: Sequence[Command]) -> list[Any] | None:
        self.asked.append(commands)
        if self.passing is not None:
            await self.passing.wait()
        await asyncio.sleep(0)
        if self.is_deaf:
            return None
        return [RuntimeError("OOM command not allowed") if self.refuses else self._reply(command) for command in commands]

    @property
    def looked_up(self) -> int:
        """How many keys were asked for."""
        return sum(command[0] == "GETRANGE" for pipeline in self.asked for command in pipeline)

    def _reply(self, command: Command) -> Any:
        match command:
            case ("PING",):
                return b"PONG"
            case ("GETRANGE", bytes(key), 0, int(end)):
                return self.values.get(key, b"")[: end + 1]
            case ("PTTL", bytes(key)):
                return self.lives.get(key, -1) if key in self.values else -2
            case ("SET", bytes(key), bytes(value), "PX", int(life)):
                self.values[key], self.lives[key] = value, life
                return True
            case _:
                raise AssertionError(command)
