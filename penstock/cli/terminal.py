"""What the terminal can do."""

from __future__ import annotations

import os
import shutil
import sys

HOME_AND_CLEAR = "\x1b[H\x1b[J"
"""Begin again in the upper left corner of an empty screen."""


def width() -> int | None:
    """Return how many columns a line may take; None when the output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def redraws() -> bool:
    """Whether a screen can be drawn over the one before: only for a person in front of a terminal."""
    return sys.stdout.isatty() and not os.environ.get("CI") and os.environ.get("TERM", "dumb") != "dumb"
