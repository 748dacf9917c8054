"""The supervisor of a stack as a child of `penstock up`: started, watched, asked to end.

In the foreground it dies with this process, and its servers with it; detached, it leads a life of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from penstock.cli._services import server_command, server_environment
from penstock.cli.failure import Failure
from penstock.cli.stack_progress import Progress
from penstock.cli.stack_records import Stack, read_stack

PARENT_VARIABLE = "PENSTOCK_PARENT_PID"
"""As in services.chassis.parentage."""
START_POLL_SECONDS = 0.05
WATCH_POLL_SECONDS = 0.25
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StackProcess:
    """One run of the supervisor."""

    def __init__(self, folder: Path, settings: Sequence[str], *, is_detached: bool) -> None:
        """Start it; what it does is read from its record."""
        self._folder = folder
        self._is_detached = is_detached
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  read when the process has ended
        environment = server_environment()
        environment.pop(PARENT_VARIABLE, None)
        if not is_detached:
            environment[PARENT_VARIABLE] = str(os.getpid())
        command = server_command("stack", *settings)
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors, start_new_session=True
        )
        self._progress = Progress()

    def until_ready(self) -> Stack:
        """Show the start, and return the stack when everything answers; Ctrl-C ends the start.

        Raises:
            Failure: it ended before.
        """
        with self._signals_passed_on():
            while True:
                has_ended = self._process.poll() is not None
                stack = self._look()
                if has_ended:
                    raise self._failure()
                if stack is not None and stack.state == "ready":
                    self._progress.end()
                    return stack
                time.sleep(START_POLL_SECONDS)

    def until_end(self) -> None:
        """Show what happens until somebody ends the stack.

        Raises:
            Failure: it ended by itself.
        """
        with self._signals_passed_on():
            while self._process.poll() is None:
                self._look()
                time.sleep(WATCH_POLL_SECONDS)
        self._look()
        self._progress.end()
        if self._process.returncode != 0:
            raise self._failure()

    def _look(self) -> Stack | None:
        stack = read_stack(self._folder)
        if stack is None or stack.process_id != self._process.pid:
            return None
        self._progress.show(stack)
        return stack

    def _failure(self) -> click.ClickException | click.exceptions.Exit:
        self._progress.end()
        if self._process.returncode == 0:
            return click.exceptions.Exit(128 + signal.SIGINT)  # it was asked to end while it started
        self._errors.seek(0)
        _, found, text = self._errors.read().decode(errors="replace").rpartition("error: ")
        what = text.strip() if found else f"the stack ended with {self._process.returncode}"
        return Failure(what, next_step="" if found else f"see {self._folder / 'logs' / 'up.log'}")

    @contextmanager
    def _signals_passed_on(self) -> Generator[None]:
        def pass_on(_number: int, _frame: FrameType | None) -> None:
            # The supervisor leads a session of its own: a terminal's Ctrl-C reaches this process only.
            self._process.send_signal(signal.SIGTERM)

        former = {number: signal.signal(number, pass_on) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
