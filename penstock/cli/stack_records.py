"""The stacks of this user, from the record that each keeps in its folder: `<state folder>/<name>/stack.json`.

A record counts for nothing once its process is gone, or when the process id belongs to somebody else by now: with the supervisor every
server of its stack is gone too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from penstock.cli.failure import Failure
from penstock.cli.serve_records import start_ticks

DEFAULT_NAME = "local"
RECORD = "stack.json"

name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, metavar="NAME", help="Which stack; several run side by side.")


def _folder(_ctx: click.Context, _option: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a folder whose name is no text: settings and records are JSON."""
    if value is not None and any("\ud800" <= one <= "\udfff" for one in str(value)):
        raise click.BadParameter("the name of the folder is no UTF-8 text.")
    return value


state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, resolve_path=True),
    metavar="FOLDER",
    callback=_folder,
    help="Folder of data and logs. [default: $XDG_STATE_HOME/penstock/NAME, ~/.local/state/penstock/NAME]",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One stack as it last described itself."""

    folder: Path
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["name"])

    @property
    def state(self) -> str:
        """`starting`, `ready`, `stopping` or `stopped`."""
        return str(self.document["state"])

    @property
    def process_id(self) -> int:
        """Id of the supervisor."""
        return int(self.document["pid"])

    @property
    def servers(self) -> Mapping[str, Mapping[str, Any]]:
        """Everything that it runs, in the order of the start."""
        return self.document["servers"]

    @property
    def runs(self) -> bool:
        """Whether its supervisor is there."""
        try:
            return start_ticks(self.process_id) == self.document["process_start_ticks"]
        except OSError:
            return False


def stack_folder(name: str, state_dir: Path | None = None) -> Path:
    """Return the folder of a stack."""
    return state_dir or state_root() / name


def option_of(name: str, folder: Path) -> str:
    """Return the option by which commands find a stack."""
    return f"--name {name}" if folder == stack_folder(name) else f"--state-dir {folder}"


def state_root() -> Path:
    """Return the folder of all stacks of this user."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "penstock"


def cache_folder() -> Path:
    """Return the folder of servers that were downloaded or built."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "penstock"


def read_stack(folder: Path) -> Stack | None:
    """Return what a stack last said; None when it never ran, or says nothing that can be read."""
    try:
        stack = Stack(folder=folder, document=json.loads((folder / RECORD).read_bytes()))
        _ = (stack.name, stack.state, stack.process_id, stack.servers, stack.runs)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stack


def running_stacks() -> tuple[Stack, ...]:
    """Return the stacks that run, by name."""
    found = (read_stack(path.parent) for path in sorted(state_root().glob(f"*/{RECORD}")))
    return tuple(stack for stack in found if stack is not None and stack.runs)


def running_stack(name: str, state_dir: Path | None) -> Stack:
    """Return a stack that runs.

    Raises:
        Failure: it does not.
    """
    folder = stack_folder(name, state_dir)
    stack = read_stack(folder)
    if stack is None or not stack.runs:
        raise Failure(
            f"no stack {name!r} runs" if name else "no stack runs in this folder",
            where=str(folder),
            next_step=f"penstock up {option_of(name, folder)}",
        )
    return stack
