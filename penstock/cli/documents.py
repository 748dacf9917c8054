"""Documents that commands send as they are: read from a file or the input."""

from __future__ import annotations

from typing import IO

import click


def text_of(source: IO[str]) -> str:
    """Return what a file holds.

    Raises:
        click.UsageError: it is no UTF-8 text.
    """
    try:
        return source.read()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{source.name} is no UTF-8 text: {error.reason}.") from None
