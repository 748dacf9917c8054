"""Durations on the command line: `2.5`, `500ms`, `30s`, `2m`."""

from __future__ import annotations

import re

import click

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|)")


def seconds_of(_ctx: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of an option's value; None when it is not given.

    Raises:
        click.BadParameter: no duration above 0.
    """
    if value is None:
        return None
    match = _DURATION.fullmatch(value)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{value!r} is no duration above 0: use for example 500ms, 2.5s or 1m.")
    return seconds
