"""A wall clock for child processes that a test moves while they run; monotonic clocks and the file system's go on.

A few lines of C, compiled by the machine's compiler and preloaded. Where there is no compiler the tests that need it fail and say so.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class MovedClock:
    """The shared file that holds by how much clocks are moved."""

    def __init__(self, folder: Path) -> None:
        """Compile the library into a folder, and begin unmoved."""
        self._file = folder / "moved"
        self._library = folder / "clock.so"
        self._file.write_bytes(struct.pack("=q", 0))
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        assert compiler, "moving clocks needs a C compiler (cc), and this machine has none: install one to run this row"
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", self._library, SOURCE, "-ldl"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr

    @property
    def variables(self) -> dict[str, str]:
        """What a process must find in its environment to go by this clock."""
        return {"LD_PRELOAD": str(self._library), "PENSTOCK_MOVED_CLOCK": str(self._file)}

    def move(self, seconds: int) -> None:
        """Move the clocks to so many seconds from the truth."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))
