"""Writes and prints the figures of a run."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figures

GOALS = {"c64": 6.0}
"""Least ratio of requests/s to the bare grpc.aio server."""
P50_GOAL_MS = 0.5
"""Most median latency at 4 calls in flight."""


def say(line: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(line + "\n")


def derive(figures: Figures, in_flight: Sequence[int]) -> None:
    """Add the ratios to the bare server and the names that the goals use."""
    for count in in_flight:
        ours, bare = f"penstock.grpc.c{count}", f"grpc_aio.grpc.c{count}"
        figures.ratio(f"online.grpc.c{count}.ratio_to.grpc_aio", f"{ours}.requests_per_second", f"{bare}.requests_per_second")
        for name in ("requests_per_second", "p50_ms", "p99_ms", "cpu_us_per_request"):
            for value in figures.by_name[f"{ours}.{name}"].values:
                figures.add(f"online.grpc.c{count}.{name}", value, figures.by_name[f"{ours}.{name}"].unit)


def write(figures: Figures, path: Path) -> None:
    """Write every figure with how it came about."""
    about = {"machine": _machine(), "commit": _commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d")}
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1) + "\n")


def show(figures: Figures, in_flight: Sequence[int]) -> None:
    """Print the table."""
    lines = [f"{'':24}" + "".join(f"{f'{count} in flight':>24}" for count in in_flight)]
    rows = [("penstock", "requests_per_second", "requests/s"), ("grpc_aio", "requests_per_second", "requests/s")]
    rows += [("penstock", "cpu_us_per_request", "CPU us/request"), ("grpc_aio", "cpu_us_per_request", "CPU us/request")]
    rows += [("penstock", "p50_ms", "p50 ms"), ("penstock", "p99_ms", "p99 ms"), ("grpc_aio", "p50_ms", "p50 ms")]
    for server, name, title in rows:
        cells = [_cell(figures, f"{server}.grpc.c{count}.{name}") for count in in_flight]
        lines.append(f"{server + ' ' + title:24}" + "".join(f"{cell:>24}" for cell in cells))
    ratios = [_cell(figures, f"online.grpc.c{count}.ratio_to.grpc_aio") for count in in_flight]
    lines.append(f"{'ratio of requests/s':24}" + "".join(f"{cell:>24}" for cell in ratios))
    sys.stdout.write("\n".join(lines) + "\n" + "".join(line + "\n" for line in _verdicts(figures)))


def _verdicts(figures: Figures) -> list[str]:
    verdicts: list[str] = []
    for place, least in GOALS.items():
        ratio = figures.by_name[f"online.grpc.{place}.ratio_to.grpc_aio"].median
        verdicts.append(f"{'holds' if ratio >= least else 'MISSES'}: {ratio:.1f} times the bare grpc.aio server at {place}, goal {least:g}")
    p50 = figures.by_name["penstock.grpc.c4.p50_ms"].median
    verdicts.append(f"{'holds' if p50 < P50_GOAL_MS else 'MISSES'}: p50 {p50:.2f} ms at 4 in flight, goal below {P50_GOAL_MS:g}")
    return verdicts


def _cell(figures: Figures, name: str) -> str:
    figure = figures.by_name[name]
    digits = 0 if figure.median >= 100 else 2
    return f"{figure.median:,.{digits}f} [{min(figure.values):,.{digits}f}..{max(figure.values):,.{digits}f}]"


def _machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    cores = len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))
    return f"{cores} x {model or platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"


def _commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
