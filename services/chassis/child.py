"""One child process that is kept running: started, watched, started again after a crash, stopped.

A death is seen at once through a pidfd, whatever the loop and whatever killed it. Signals go through the pidfd too, so none can reach a
stranger that was given the same id. Children lead sessions of their own: Ctrl-C reaches the supervisor only, which stops them in order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from services.chassis.clock import Clock
from services.chassis.death import Death, Exit, describe
from services.chassis.parentage import PARENT_VARIABLE
from services.chassis.process import CannotStart, running
from services.chassis.restart_delays import RestartDelays

REFUSES_SETTINGS = 78
"""Exit code of a service whose settings are invalid."""

STDERR = 2

SHORT_SECONDS = 0.5
"""A life that ended cleanly before this had not begun to serve: starting it again at once could go round and round."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run."""

    name: str
    """For example worker-0."""
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Set in addition to the supervisor's."""
    log: Path | None = None
    """File that what it writes is added to; None is the supervisor's standard error."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks it to end."""


class ChildProcess:
    """One life."""

    def __init__(self, spec: ChildSpec) -> None:
        """Start the process; call it on a thread that lives as long as children may, for they are bound to its end.

        Raises:
            OSError: it cannot be started.
        """
        self._kills_before = out_of_memory_kills()
        with ExitStack() as stack:
            output = STDERR if spec.log is None else stack.enter_context(spec.log.open("ab"))
            self._process = subprocess.Popen(
                spec.command,
                env={**os.environ, **spec.environment, PARENT_VARIABLE: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def process_id(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def out_of_memory_kills(self) -> int:
        """Processes killed for lack of memory since the start."""
        return out_of_memory_kills() - self._kills_before

    async def wait(self) -> int:
        """Return exit code or minus the signal when the process is dead, and let go of it."""
        loop = asyncio.get_running_loop()
        dead: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._pidfd, _resolve, dead)
        try:
            await dead
        finally:
            loop.remove_reader(self._pidfd)
        status = self._process.wait()
        os.close(self._pidfd)
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process is dead."""
        if self._process.returncode is None:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return

    def end(self) -> None:
        """Kill the process and wait for the moment that the kernel needs."""
        if self._process.returncode is None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            os.close(self._pidfd)


class Child:
    """A child over all its lives."""

    def __init__(
        self, spec: ChildSpec, delays: RestartDelays, clock: Clock, *, on_exit: Callable[[Exit], Awaitable[None]] | None = None
    ) -> None:
        """Store the arguments; `on_exit` is told every death before the next start."""
        self.spec = spec
        self._delays = delays
        self._clock = clock
        self._on_exit = on_exit
        self._life: ChildProcess | None = None
        self._is_stopping = False
        self._gone = asyncio.Event()
        self._killed_for: Death | None = None
        self.lives = 0
        """How often it was started."""
        self.deaths: Counter[Death] = Counter()
        """How its lives ended, but for the last one."""

    @property
    def process_id(self) -> int | None:
        """Id of the present process; None while there is none."""
        return self._life.process_id if self._life else None

    async def keep(self) -> None:
        """Run the child, and run it again after every death, until it is stopped.

        A start that fails is tried again like a death, but for the first: later the machine may be short of memory, processes or files.

        Raises:
            CannotStart: its first life ended because its settings are invalid.
            OSError: it cannot be started for the first time.
        """
        try:
            while not self._is_stopping:
                delay = await self._live()
                if not self._is_stopping:
                    await self._clock.sleep(delay)
        finally:
            if self._life is not None:
                self._life.end()
                self._life = None
            self._gone.set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the present process, if there is one."""
        if self._life is not None:
            self._life.signal(number)

    async def stop(self, seconds: float) -> None:
        """Ask the child to end, and kill it when it has not after so many seconds."""
        self._is_stopping = True
        if self._life is None:
            return
        self._life.signal(self.spec.stop_signal)
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            log.warning("child_killed", child=self.spec.name, after_seconds=seconds)
            self.kill()
            await self._gone.wait()

    def kill(self, cause: Death | None = None) -> None:
        """Kill the present process, if there is one; `cause` is why, unless it is the end of the serve."""
        self._killed_for = cause
        self.signal(signal.SIGKILL)

    async def _live(self) -> float:
        """Run one life and return the seconds until the next."""
        started_at = self._clock.now()
        try:
            self._life = life = ChildProcess(self.spec)
        except OSError as error:
            if not self.lives:
                raise
            return self._not_started(error)
        self.lives += 1
        log.info("child_started", child=self.spec.name, child_process_id=life.process_id, life=self.lives)
        status = await life.wait()
        ended = Exit(
            name=self.spec.name,
            process_id=life.process_id,
            status=status,
            lived_seconds=self._clock.now() - started_at,
            out_of_memory_kills=life.out_of_memory_kills,
            killed_for=self._killed_for,
        )
        self._life = self._killed_for = None
        if self._is_stopping:
            log.info("child_stopped", child=self.spec.name, status=describe(status))
            return 0.0
        return await self._after(ended)

    def _not_started(self, error: OSError) -> float:
        delay = self._delays.after(0.0)
        log.error("child_not_started", child=self.spec.name, reason=error.strerror, again_in_seconds=round(delay, 3))
        return delay

    async def _after(self, ended: Exit) -> float:
        if ended.status == REFUSES_SETTINGS and self.lives == 1:
            raise CannotStart(f"{ended.name} refuses its settings; its message stands above")
        self.deaths[ended.death] += 1
        delay = self._pause(ended)
        if self._on_exit is not None:
            await self._on_exit(ended)
        return delay

    def _pause(self, ended: Exit) -> float:
        """Return the seconds until the next start: none after an end that was asked for, which is no crash."""
        if ended.death is Death.ENDED and ended.lived_seconds >= SHORT_SECONDS:
            log.info("child_ended", child=ended.name, lived_seconds=round(ended.lived_seconds, 3))
            return 0.0
        delay = self._delays.after(ended.lived_seconds)
        log.warning(
            "child_died",
            child=ended.name,
            status=describe(ended.status),
            cause=ended.death.name.lower(),
            lived_seconds=round(ended.lived_seconds, 3),
            restart_in_seconds=round(delay, 3),
        )
        return delay


async def stop_all(children: Sequence[Child], seconds: float) -> None:
    """Stop children at the same time."""
    await asyncio.gather(*(child.stop(seconds) for child in children))


@asynccontextmanager
async def kept(children: Sequence[Child], stop_seconds: float) -> AsyncGenerator[None]:
    """Keep children running until the block ends, then stop them together and kill who takes longer than told."""
    async with AsyncExitStack() as stack:
        for child in children:
            await stack.enter_async_context(running(child.keep(), name=child.spec.name))
        await asyncio.sleep(0)  # lets every task start its process: what is entered next may take long
        try:
            yield
        finally:
            await stop_all(children, stop_seconds)


def out_of_memory_kills() -> int:
    """Return how many processes of the machine were killed for lack of memory since it started; 0 where that cannot be seen."""
    try:
        with Path("/proc/vmstat").open(encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0


def _resolve(dead: asyncio.Future[None]) -> None:
    if not dead.done():
        dead.set_result(None)
