"""Many schedules, one after the other: resumable, in worlds that are started anew before they wear out."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.oracle import write_models
from tests.faults.playing import Result, play
from tests.faults.schedules import FaultKind, Schedule, draw, shrunk
from tests.faults.world import World, world

MODELS = ("alpha", "beta")
DEATHS_A_WORLD = 6
"""The supervisor waits longer before each start of a worker that keeps dying; schedules are to meet a serve that is well."""
DEADLY = (FaultKind.KILL, FaultKind.TERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What to play and where to remember it."""

    schedules: int
    seconds: float
    first: int
    progress: Path
    """JSON lines, one a schedule that is done; a campaign goes on where it stopped."""

    def done(self) -> dict[int, dict[str, Any]]:
        """Return what was played before, by seed."""
        if not self.progress.exists():
            return {}
        return {line["seed"]: line for line in map(json.loads, self.progress.read_text().splitlines())}

    def run(self) -> Iterator[dict[str, Any]]:
        """Play what is left, and yield each line as it is done."""
        done = self.done()
        left = [seed for seed in range(self.first, self.first + self.schedules) if seed not in done]
        self.progress.parent.mkdir(parents=True, exist_ok=True)
        while left:
            with fresh_world() as running:
                deaths = 0
                while left and deaths < DEATHS_A_WORLD:
                    schedule = draw(left.pop(0), self.seconds)
                    deaths += sum(fault.kind in DEADLY for fault in schedule.faults)
                    line = self._play(running, schedule)
                    yield line
                    if line["violations"]:
                        break

    def _play(self, running: World, schedule: Schedule) -> dict[str, Any]:
        ledger = self.progress.parent / "ledgers" / f"{schedule.seed}.jsonl"
        ledger.parent.mkdir(exist_ok=True)
        ledger.unlink(missing_ok=True)
        result = play(running, schedule, ledger)
        if result.violations:
            shutil.copy(running.served.log, ledger.with_suffix(".log"))
        else:
            ledger.unlink()
        line = line_of(result)
        with self.progress.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return line


@contextmanager
def fresh_world(plants: tuple[str, ...] = (), models: tuple[str, ...] = MODELS, **options: Any) -> Iterator[World]:
    """Serve the oracle's models from folders that go away with the block."""
    with tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        repository = write_models(folder / "m", models)
        with world(folder, repository, plants=plants, **options) as running:
            running.settle(dict.fromkeys(models, "1"))
            yield running


def line_of(result: Result) -> dict[str, Any]:
    """Return what is remembered of a schedule."""
    return {
        "seed": result.schedule.seed,
        "schedule": json.loads(result.schedule.to_json()),
        "violations": [f"{one.invariant} {one.text}" for one in result.violations][:20],
        "figures": result.figures,
    }


def replay(schedule: Schedule) -> Result:
    """Play a schedule in a world of its own."""
    with fresh_world() as running:
        return play(running, schedule)


def smallest(schedule: Schedule) -> Schedule:
    """Return the smallest schedule found that still breaks something, each try in a world of its own."""
    return shrunk(schedule, lambda tried: bool(replay(tried).violations))


def totals(lines: Mapping[int, dict[str, Any]]) -> dict[str, float]:
    """Return the sums over a campaign; with no failure among n schedules the 95 % bound of the failure rate is 3/n."""
    count = len(lines)
    failed = sum(bool(line["violations"]) for line in lines.values())
    figures = [line["figures"] for line in lines.values()]
    lives = sorted(one["seconds_to_live"] for one in figures)
    return {
        "schedules": count,
        "failed": failed,
        "upper_bound_of_failure_rate": round(3 / count, 5) if count and not failed else 1.0,
        "faults": sum(len(line["schedule"]["faults"]) for line in lines.values()),
        "calls": sum(one["calls"] for one in figures),
        "answered": sum(one["answered"] for one in figures),
        "refused": sum(one["refused"] for one in figures),
        "seconds_to_live_p50": lives[count // 2] if lives else 0.0,
        "seconds_to_live_p99": lives[min(count - 1, int(count * 0.99))] if lives else 0.0,
    }


def by_kind(lines: Mapping[int, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return for every kind of fault how many schedules had it and how many of them broke something."""
    found: dict[str, dict[str, float]] = {}
    for line in lines.values():
        for kind in {fault["kind"] for fault in line["schedule"]["faults"]}:
            row = found.setdefault(kind, {"schedules": 0, "failed": 0})
            row["schedules"] += 1
            row["failed"] += bool(line["violations"])
    return dict(sorted(found.items()))
