"""Writes and prints the figures of a run."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure, Figures
from bench.goals import verdicts

_WIDTH = 25
_AT = re.compile(r"(?P<who>.+)\.c(?P<count>\d+)\.(?P<quantity>\w+)")
"""Figures of a load at a number in flight."""


def say(line: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(line + "\n")


def write(figures: Figures, path: Path) -> None:
    """Write every figure with how it came about, and what was left out with the reason."""
    about = {"machine": machine(), "commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "command": command()}
    entries: list[dict[str, Any]] = [
        {
            "name": name,
            "value": round(figure.median, 4),
            "unit": figure.unit,
            "median": round(figure.median, 4),
            "low": round(min(figure.values), 4),
            "high": round(max(figure.values), 4),
            "n": len(figure.values),
            **about,
        }
        for name, figure in sorted(figures.by_name.items())
    ]
    nothing = dict.fromkeys(("value", "median", "low", "high"))
    entries += [{"name": name, "unit": "", "n": 0, **nothing, "reason": why, **about} for name, why in figures.left_out.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1) + "\n")


def show(figures: Figures) -> None:
    """Print the table of loads, the single figures, what is missing, and the verdicts."""
    lines = [*_loads(figures.by_name), "", *_singles(figures.by_name), ""]
    lines += [f"left out: {name}: {why}" for name, why in figures.left_out.items()]
    sys.stdout.write("\n".join([*lines, *verdicts(figures.by_name)]) + "\n")


def _loads(figures: Mapping[str, Figure]) -> list[str]:
    """Return a line a server and quantity, a column a number in flight."""
    rows: dict[tuple[str, str], dict[int, Figure]] = {}
    for name, figure in figures.items():
        if at := _AT.fullmatch(name):
            rows.setdefault((at["quantity"], at["who"]), {})[int(at["count"])] = figure
    counts = sorted({count for row in rows.values() for count in row})
    lines = ["median [lowest..highest]" + " " * 26 + "".join(f"{f'{count} in flight':>{_WIDTH}}" for count in counts)]
    for (quantity, who), row in sorted(rows.items(), key=lambda item: (_ORDER.get(item[0][0], 9), item[0])):
        cells = "".join(f"{_cell(row[count]) if count in row else '':>{_WIDTH}}" for count in counts)
        lines.append(f"{quantity:22}{who:28}{cells}")
    return lines


_ORDER = {"requests_per_second": 0, "cpu_us_per_request": 1, "p50_ms": 2, "p99_ms": 3}


def _singles(figures: Mapping[str, Figure]) -> list[str]:
    """Return a line for each figure that has no number in flight."""
    return [f"{name:50}{_cell(figure):>{_WIDTH}} {figure.unit}" for name, figure in sorted(figures.items()) if not _AT.fullmatch(name)]


def _cell(figure: Figure) -> str:
    digits = 0 if figure.median >= 100 else 3 if figure.median < 1 else 2
    return f"{figure.median:,.{digits}f} [{min(figure.values):,.{digits}f}..{max(figure.values):,.{digits}f}]"


def machine() -> str:
    """Describe this machine."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    cores = len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))
    return f"{cores} x {model or platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"


def command() -> str:
    """Return how this run was started."""
    return " ".join(["python -m bench", *sys.argv[1:]])


def commit() -> str:
    """Return what is checked out."""
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
