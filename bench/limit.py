"""The limit: a loop of `session.run` in one thread, with inputs that lie ready; nothing can serve more on one core.

`python -m bench.limit MODEL FEEDS SECONDS` prints rows a second for each batch size of FEEDS. `feeds` are kept as arrays named
`<batch rows>/<number>/<input>`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.model import session
from bench.trees import SERVER_CORE, pinned

Feed = Mapping[str, NDArray[Any]]


def write_feeds(path: Path, feeds: Mapping[int, Sequence[Feed]]) -> None:
    """Keep the batches of each size."""
    arrays = {
        f"{rows}/{number}/{name}": array
        for rows, batches in feeds.items()
        for number, feed in enumerate(batches)
        for name, array in feed.items()
    }
    np.savez(path, allow_pickle=False, **arrays)


def read_feeds(path: Path) -> dict[int, list[Feed]]:
    """Return the batches of each size."""
    found: dict[int, dict[int, dict[str, NDArray[Any]]]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            rows, number, name = key.split("/")
            found.setdefault(int(rows), {}).setdefault(int(number), {})[name] = arrays[key]
    return {rows: [batches[number] for number in sorted(batches)] for rows, batches in found.items()}


def best_rows_per_second(model: Path, feeds: Path, seconds: float) -> float:
    """Run the loop on the servers' core; return the rate of its best batch size."""
    command = [sys.executable, "-m", "bench.limit", str(model), str(feeds), str(seconds)]
    done = subprocess.run(pinned(command, SERVER_CORE), check=True, capture_output=True, text=True, timeout=seconds * 10 + 60)
    return max(json.loads(done.stdout).values())


def main(model: Path, feeds: Path, seconds: float) -> dict[int, float]:
    """Measure each batch size for its share of the time, in whole passes, after one that is not counted.

    Batches of unlike cost, such as sentences sorted by length, are worth nothing in parts: the first half of them is the cheap one.
    """
    loaded = session(model)
    batches = read_feeds(feeds)
    rates: dict[int, float] = {}
    for rows, one in batches.items():
        for feed in one:
            loaded.run(None, feed)
        count, started_at = 0, time.perf_counter()
        until = started_at + seconds / len(batches)
        while time.perf_counter() < until:
            for feed in one:
                loaded.run(None, feed)
                count += len(next(iter(feed.values())))
        rates[rows] = count / (time.perf_counter() - started_at)
    return rates


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))) + "\n")
