"""`penstock down`: ends a stack from another terminal."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import click

from penstock.cli.durations import seconds_of
from penstock.cli.failure import Failure, TimedOut
from penstock.cli.stack_progress import Progress
from penstock.cli.stack_records import Stack, name_option, option_of, read_stack, stack_folder, state_dir_option

POLL_SECONDS = 0.05
ROOTS_FOLDER = Path("/var/lib/penstock")
"""Where PostgreSQL's data lies when root runs the stack; as in services.stack.postgres_database."""


@click.command()
@name_option
@state_dir_option
@click.option("--timeout", metavar="DURATION", callback=seconds_of, default="90s", show_default=True, help="Longest wait for the end.")
@click.option("--kill", is_flag=True, help="End it at once; the next `up` recovers what the servers had written.")
@click.option("--delete-data", is_flag=True, help="Remove data, ports and logs of the stack afterwards.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing.")
def down(name: str, state_dir: Path | None, timeout: float, kill: bool, delete_data: bool, yes: bool) -> None:
    """End a stack, the servers in the mirror of the order of their start; data is kept for the next `up`."""
    folder = stack_folder(name, state_dir)
    if delete_data and not yes:
        click.confirm(f"Remove everything in {folder}?", abort=True)
    stack = read_stack(folder)
    if stack is None or not stack.runs:
        click.echo(f"no stack {name!r} runs", err=True)
    else:
        _end(stack, timeout, signal.SIGKILL if kill else signal.SIGTERM)
    if delete_data:
        _delete(folder)


def _end(stack: Stack, seconds: float, number: signal.Signals) -> None:
    try:
        # The id is looked up once: what is signalled and waited for is the same process, whatever is started meanwhile.
        pidfd = os.pidfd_open(stack.process_id)
    except ProcessLookupError:
        return
    progress = Progress(stack)
    try:
        signal.pidfd_send_signal(pidfd, number)
        give_up_at = time.monotonic() + seconds
        while stack.runs:
            if time.monotonic() > give_up_at:
                raise TimedOut(
                    f"the stack {stack.name!r} has not ended within {seconds:g} s",
                    next_step=f"penstock down --kill {option_of(stack.name, stack.folder)}",
                )
            if (look := read_stack(stack.folder)) is not None and look.process_id == stack.process_id:
                progress.show(look)
            time.sleep(POLL_SECONDS)
        if (look := read_stack(stack.folder)) is not None:
            progress.show(look)
    finally:
        progress.end()
        os.close(pidfd)


def _delete(folder: Path) -> None:
    if not folder.is_dir():
        return
    if not (folder / ".lock").is_file():
        raise Failure(f"{folder} is no folder of a stack: nothing is removed")
    elsewhere = folder / "postgres" / "elsewhere"
    if elsewhere.is_symlink() and elsewhere.readlink().parent == ROOTS_FOLDER:
        shutil.rmtree(elsewhere.readlink(), ignore_errors=True)
    shutil.rmtree(folder)
