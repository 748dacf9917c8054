"""How every process lives: one block that is entered, waits for a signal, and is left.

    SIGTERM, SIGINT   leave the block: everything closes in the mirror of its opening order; exit code 0
    the same again    give up: `Hooks.abandon`, then exit code 128 + signal, at once
    SIGHUP            `Hooks.reload` (unless the terminal is gone, which means stop)

A process that has lost its parent is of no use to anybody: `parentage.die_with_parent` makes the kernel end it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import structlog

from services.chassis.loop import Loop

C = TypeVar("C")
T = TypeVar("T")

log = structlog.get_logger(__name__)

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What a folder of state says that takes nothing more."""


class CannotStart(Exception):
    """The process cannot do its work; the message is for a person and says what to do next."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What an application does on signals, given out when its block is entered."""

    reload: Callable[[], object] | None = None
    """Called for SIGHUP."""
    abandon: Callable[[], object] | None = None
    """Called before the process ends at once; must not wait."""


App = Callable[[C], AbstractAsyncContextManager[Hooks | None]]
"""A composition root: entering means ready, leaving means closed."""


def run(app: App[C], config: C) -> int:
    """Run an application until it is asked to stop, on uvloop; return the exit code.

    0 after a signal, also when it came while the block was still being entered; the error's own for CannotStart, whose message goes
    to stderr; 1 for anything else, which is logged with its trace.
    """
    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(_live(app, config))
    except CannotStart as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        log.exception("process_failed")
        if error.errno in NO_ROOM:
            # The log may lie on the same disk, and say nothing of it.
            where = f"{error.filename} cannot be written: " if error.filename else ""
            sys.stderr.write(f"error: {where}{error.strerror}; make room, or name another folder with --state-dir\n")
        return 1
    except Exception:
        log.exception("process_failed")
        return 1
    return 0


@asynccontextmanager
async def running(work: Coroutine[Any, Any, T], *, name: str | None = None) -> AsyncGenerator[asyncio.Task[T]]:
    """Run `work` in the background of a block.

    Leaving the block cancels and awaits it. Its failure cancels the block and is raised from it, as itself and not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work, name=name)
            try:
                yield task
            finally:
                task.cancel()
    except BaseExceptionGroup as failures:
        alone = _alone(failures)
        raise alone from alone.__cause__


async def _live(app: App[C], config: C) -> None:
    signals = _Signals(asyncio.get_running_loop(), asyncio.current_task())
    signals.install()
    try:
        async with app(config) as hooks:
            signals.enter(hooks or Hooks())
            await signals.asked.wait()
    except asyncio.CancelledError:
        if not signals.asked.is_set():
            raise
    finally:
        signals.remove()


class _Signals:
    """What the process was asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, main: asyncio.Task[Any] | None) -> None:
        self._loop = loop
        self._main = main
        self._hooks: Hooks | None = None
        self._had_terminal = _has_terminal()
        # nohup: the process is to outlive its terminal, so SIGHUP only ever reloads.
        self._ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self.asked = asyncio.Event()

    def install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def remove(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.remove_signal_handler(number)

    def enter(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def _stop(self, number: signal.Signals) -> None:
        if self.asked.is_set():
            self._give_up(number)
        self.asked.set()
        if self._hooks is None and self._main is not None:
            self._main.cancel()
        log.info("stopping", signal=number.name)

    def _give_up(self, number: signal.Signals) -> NoReturn:
        if self._hooks is not None and self._hooks.abandon is not None:
            self._hooks.abandon()
        os._exit(128 + number)

    def _hang_up(self) -> None:
        if self._had_terminal and not self._ignores_hangup and not _has_terminal():
            self._stop(signal.SIGHUP)
        elif self._hooks is not None and self._hooks.reload is not None:
            self._hooks.reload()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _alone(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one failure of a group, however deep; the group itself when there are several."""
    found: BaseException = failures
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found
