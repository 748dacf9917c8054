"""Groups of commands: modules are imported when their command is used, lists come in sections, slips of the pen get a suggestion.

The list of commands is made from the table alone, so that `penstock --help` imports no command.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyCommand:
    """Where a command is defined, and what the list of commands says of it."""

    place: str
    """`module:name`."""
    section: str
    summary: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, name = self.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


class SuggestingGroup(click.Group):
    """A group that names what was probably meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments begin with."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx) and not ctx.resilient_parsing:
            raise click.UsageError(self.refusal(ctx, args[0]), ctx)
        return super().resolve_command(ctx, args)

    def refusal(self, ctx: click.Context, name: str) -> str:
        """Return why there is no such command."""
        near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return f"There is no command '{click.format_filename(name)}'.{hint}"


class LazyGroup(SuggestingGroup):
    """A group whose commands are imported on first use."""

    def __init__(self, *, table: Mapping[str, LazyCommand], later: Collection[str] = (), **attributes: Any) -> None:
        """Store the commands by name in the order of the list, and the names of those that a later version brings."""
        super().__init__(**attributes)
        self._table = table
        self._later = later

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of this name."""
        entry = self._table.get(cmd_name)
        return None if entry is None else entry.load()

    def refusal(self, ctx: click.Context, name: str) -> str:
        """Return why there is no such command."""
        if name in self._later:
            return f"'{name}' is not available in this version of penstock."
        return super().refusal(ctx, name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin like what was typed, without importing a command."""
        names = [CompletionItem(name, help=entry.summary) for name, entry in self._table.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, without importing one."""
        width = max(map(len, self._table), default=0)
        for section in dict.fromkeys(entry.section for entry in self._table.values()):
            rows = [(name.ljust(width), entry.summary) for name, entry in self._table.items() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)
