"""What `penstock up` and `penstock down` show while they wait: a line for what has happened, and on a terminal one for what is awaited."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from penstock.cli import terminal
from penstock.cli.failure import colour
from penstock.cli.stack_records import Stack
from penstock.cli.table import cell_text

REPORT_SECONDS = 5.0
"""Without a terminal, time between two lines on what is still awaited."""

_BUSY = ("fetching", "preparing", "starting", "stopping")
_CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Turns one look after the other into lines; on standard error, so that standard output holds results only."""

    def __init__(self, begun: Stack | None = None) -> None:
        """Begin with nothing shown; what `begun` says already is not shown again."""
        self._states: dict[str, str] = {}
        self._busy_since: dict[str, float] = {}
        self._told = 0
        self._redraws = terminal.redraws()
        self._report_at = time.monotonic() + REPORT_SECONDS
        if begun is not None:
            self._news(begun)
            self._states = {name: str(entry["state"]) for name, entry in begun.servers.items()}

    def show(self, stack: Stack) -> None:
        """Show what changed since the last look, and what is awaited."""
        entries = list(stack.servers.items())
        if stack.state in {"stopping", "stopped"}:
            entries.reverse()  # several may end between two looks: they do in this order
        for line in (*self._news(stack), *(line for entry in entries if (line := self._change(*entry)))):
            self._line(line)
        self._awaited(stack)

    def end(self) -> None:
        """Leave no half line behind."""
        if self._redraws:
            click.echo(_CLEAR_LINE, nl=False, err=True)

    def _news(self, stack: Stack) -> list[str]:
        fresh = [news for news in stack.document.get("news", ()) if news["number"] > self._told]
        self._told = max([self._told, *(int(news["number"]) for news in fresh)])
        return [f"  {cell_text(news['text'])}" for news in fresh]

    def _change(self, name: str, entry: Mapping[str, Any]) -> str | None:
        state = str(entry["state"])
        former, self._states[name] = self._states.get(name, "waiting"), state
        if state in _BUSY:
            self._busy_since.setdefault(name, time.monotonic())
        elif state == "waiting":
            self._busy_since.pop(name, None)  # it was looked for; what counts is its start
        # A server that died, and one that is back, are in the news.
        if former == state or state in {*_BUSY, "waiting", "down"} or former in {"down", "silent"}:
            return None
        taken = max(0.0, time.monotonic() - self._busy_since.pop(name, time.monotonic()))
        if state == "ready":
            return f"  {name:<12} {entry['address']:<22} ready after {taken:.1f} s  {_source(entry)}"
        if state == "stopped":
            return f"  {name:<12} stopped after {taken:.1f} s"
        return f"  {name:<12} {state}: {cell_text(entry['note'])}"

    def _awaited(self, stack: Stack) -> None:
        busy = next(((name, entry) for name, entry in stack.servers.items() if entry["state"] in _BUSY), None)
        if busy is None:
            return
        name, entry = busy
        seconds = time.monotonic() - self._busy_since[name]
        note = f": {cell_text(entry['note'])}" if entry["note"] else ""
        text = f"  {name:<12} {entry['state']} for {seconds:.1f} s{note}"
        if self._redraws:
            click.echo(f"{_CLEAR_LINE}{text[: (terminal.width() or 80) - 1]}", nl=False, err=True)
        elif time.monotonic() >= self._report_at:
            self._line(text)

    def _line(self, text: str) -> None:
        self._report_at = time.monotonic() + REPORT_SECONDS
        click.echo(f"{_CLEAR_LINE if self._redraws else ''}{text}", err=True, color=True if self._redraws else colour())


def _source(entry: Mapping[str, Any]) -> str:
    if entry["origin"] == "given":
        return "(an address of the configuration: nothing was started)"
    return f"{entry['version']} ({entry['origin']})" if entry["version"] else ""
