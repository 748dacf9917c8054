"""`penstock logs`: what the processes of a stack have written, and what they write."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from penstock.cli.failure import Failure
from penstock.cli.stack_records import name_option, stack_folder, state_dir_option

POLL_SECONDS = 0.2


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]…")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(min=0), default=100, show_default=True, help="How many of the last lines, a service.")
@name_option
@state_dir_option
def logs(services: tuple[str, ...], follow: bool, lines: int, name: str, state_dir: Path | None) -> None:
    """Print the logs of a stack: of the SERVICES named (up is the supervisor's own), or of all, running or not."""
    folder = stack_folder(name, state_dir) / "logs"
    paths = _paths(folder, services)
    followed = [_Followed(path, f"{path.stem:<12} " if len(paths) > 1 else "") for path in paths]
    try:
        for each in followed:
            each.last(lines)
        while follow:
            if not sum(each.more() for each in followed):
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return
    finally:
        for each in followed:
            each.close()


def _paths(folder: Path, services: Sequence[str]) -> list[Path]:
    there = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not there:
        raise Failure("there are no logs", where=str(folder), next_step="penstock ps shows what runs, penstock up starts a stack")
    unknown = [service for service in services if service not in there]
    if unknown:
        raise Failure(f"there is no log of {', '.join(unknown)}; there are {', '.join(there)}", where=str(folder))
    return [there[service] for service in services] or list(there.values())


class _Followed:
    """One file, from where it was last read; a file that was put aside and begun anew is read from its beginning."""

    def __init__(self, path: Path, prefix: str) -> None:
        self._path = path
        self._prefix = prefix
        self._file = path.open("rb")
        self._half = b""

    def close(self) -> None:
        self._file.close()

    def last(self, count: int) -> None:
        for line in deque(self._lines(), maxlen=count):
            self._echo(line)

    def more(self) -> int:
        """Print what has come and return how many lines those are."""
        printed = 0
        for line in self._lines():
            self._echo(line)
            printed += 1
        if not printed and self._was_put_aside():
            self._file.close()
            self._file, self._half = self._path.open("rb"), b""
        return printed

    def _lines(self) -> Iterator[bytes]:
        while chunk := self._file.read(1 << 20):
            *whole, self._half = (self._half + chunk).split(b"\n")
            yield from whole

    def _was_put_aside(self) -> bool:
        try:
            now = self._path.stat()
        except OSError:
            return False
        return now.st_ino != os.fstat(self._file.fileno()).st_ino or now.st_size < self._file.tell()

    def _echo(self, line: bytes) -> None:
        click.echo(f"{self._prefix}{line.decode(errors='replace')}")
