"""`penstock ps`: the stacks that run, and what each runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from penstock.cli import terminal
from penstock.cli.output import Form, form_option, show
from penstock.cli.stack_records import Stack, running_stack, running_stacks, state_dir_option
from penstock.cli.table import table

HEADS = ("stack", "service", "state", "address", "process", "starts", "for", "from", "note")


@click.command()
@click.option("--name", metavar="NAME", help="This stack only. [default: all that run]")
@state_dir_option
@form_option
def ps(name: str | None, state_dir: Path | None, form: Form) -> None:
    """List what the stacks of this user run."""
    is_named = name is not None or state_dir is not None
    stacks = (running_stack(name or "", state_dir),) if is_named else running_stacks()
    show({"stacks": [stack.document for stack in stacks]}, form, lambda: _text(stacks))


def _text(stacks: Sequence[Stack]) -> str:
    if not stacks:
        return "no stack runs; penstock up starts one"
    rows = [_row(stack, name, entry) for stack in stacks for name, entry in stack.servers.items()]
    return table(HEADS, rows, width=terminal.width())


def _row(stack: Stack, name: str, entry: Mapping[str, Any]) -> list[Any]:
    source = f"{entry['version']} {entry['origin']}" if entry["version"] else entry["origin"]
    since = _age(time.time() - float(entry["since_time"]))
    # As text: a process id is no quantity, and takes no thousands separator.
    process = None if entry["pid"] is None else str(entry["pid"])
    return [stack.name, name, entry["state"], entry["address"], process, entry["lives"], since, source, entry["note"] or None]


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
