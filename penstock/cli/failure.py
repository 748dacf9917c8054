"""How a command fails: what happened, where, and which command comes next; the exit code says which kind it is.

Exit codes: 0 done, 1 failed, 2 the command line is wrong, 4 out of time.
"""

from __future__ import annotations

import os
from typing import IO, Any, ClassVar

import click

EXIT_FAILED = 1
EXIT_TIMEOUT = 4


class Failure(click.ClickException):
    """A command could not do what it was asked."""

    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(self, what: str, *, reason: str = "", where: str = "", next_step: str = "") -> None:
        """Keep the facts.

        Args:
            what: what happened and why.
            reason: stable name of the error, as in `penstock.contracts.errors`.
            where: the server, file or line.
            next_step: a command to run, or what to change.
        """
        super().__init__(what)
        self.reason = reason
        self.where = where
        self.next_step = next_step

    def format_message(self) -> str:
        """Return the lines after `error`."""
        lines = [f"[{self.reason}]: {self.message}" if self.reason else f": {self.message}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.next_step:
            lines.append(f"  next:  {self.next_step}")
        return "\n".join(lines)

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to the standard error output."""
        click.echo(click.style("error", fg="red", bold=True) + self.format_message(), file=file, err=file is None, color=colour())


class TimedOut(Failure):
    """The time that the caller gave was not enough."""

    exit_code: ClassVar[int] = EXIT_TIMEOUT


def colour() -> bool | None:
    """Return what click.echo takes as `color`: never with NO_COLOR, else when a terminal is there."""
    return False if os.environ.get("NO_COLOR") else None
