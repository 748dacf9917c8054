"""`python -m tests.faults`: random schedules, named rows and planted bugs; writes RELIABILITY.md and bench/results/faults.json.

What was played for this commit is remembered in .cache/faults, so that a run goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tests.faults import figures, report
from tests.faults.campaign import Campaign, by_kind, replay, smallest, totals
from tests.faults.schedules import Schedule

ELSEWHERE = (
    "tests/integration/test_assigned_workers.py",
    "tests/worker/test_fetched_versions.py",
    "tests/chassis/test_artefact_store.py",
    "tests/controller/test_deployments.py",
)
"""Files with rows that are told by one part of the product alone."""


def main() -> int:
    """Run what was asked for; return 1 when anything is broken."""
    given = _arguments()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="penstock-faults-"))
    if given.replay:
        return _replay(Schedule.from_json(given.replay.read_text()), is_shrunk=given.shrink)
    found: dict[str, Any] = _campaign(given)
    if not given.only_schedules:
        found |= _rows() | _planted_bugs()
    report.write(report.stamped(found, "make faults" if given.is_default else "python -m tests.faults " + " ".join(sys.argv[1:])))
    print(f"wrote {report.PAGE.name} and {report.RESULTS.relative_to(report.REPO)}")
    return int(_is_broken(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--schedules", type=int, default=300, help="how many random schedules")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the safety phase of each")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first; the others follow")
    parser.add_argument("--only-schedules", action="store_true", help="neither named rows nor planted bugs")
    parser.add_argument("--replay", type=Path, help="play one schedule, written as JSON, and nothing else")
    parser.add_argument("--shrink", action="store_true", help="with --replay: print the smallest schedule that still fails")
    given = parser.parse_args()
    given.is_default = not sys.argv[1:]
    return given


def _campaign(given: argparse.Namespace) -> dict[str, Any]:
    progress = report.REPO / ".cache" / "faults" / f"{report.commit()}-{given.seconds:g}s.jsonl"
    campaign = Campaign(schedules=given.schedules, seconds=given.seconds, first=given.seed, progress=progress)
    started = time.monotonic()
    for number, line in enumerate(campaign.run(), 1):
        kinds = " ".join(fault["kind"] for fault in line["schedule"]["faults"])
        verdict = "; ".join(line["violations"][:3]) or "ok"
        print(f"[{time.monotonic() - started:6.0f} s] {number}: seed {line['seed']} ({kinds}) {line['figures']} {verdict}", flush=True)
    asked = range(given.seed, given.seed + given.schedules)
    lines = {seed: line for seed, line in campaign.done().items() if seed in asked}
    worst = [f"seed {seed}: {line['violations'][0]}" for seed, line in lines.items() if line["violations"]]
    return {"schedules": totals(lines), "faults": by_kind(lines), "worst": worst}


def _replay(schedule: Schedule, *, is_shrunk: bool) -> int:
    result = replay(schedule)
    print(result.figures)
    for violation in result.violations:
        print(violation)
    if is_shrunk and result.violations:
        print(smallest(schedule).to_json())
    return int(bool(result.violations))


def _rows() -> dict[str, Any]:
    """Run the tests of the named rows and count them by row."""
    with tempfile.TemporaryDirectory() as name:
        xml, kept = Path(name) / "rows.xml", Path(name) / "figures.jsonl"
        environment = {**os.environ, figures.VARIABLE: str(kept)}
        command = [sys.executable, "-m", "pytest", "-q", "tests/faults", *ELSEWHERE, f"--junitxml={xml}"]
        subprocess.run(command, cwd=report.REPO, env=environment, check=False)
        cases = ET.parse(xml).getroot().iter("testcase")
        rows: dict[str, dict[str, int]] = {}
        for case in cases:
            is_failed = case.find("failure") is not None or case.find("error") is not None
            for row in _named(case.get("name", "")):
                counted = rows.setdefault(row, {"passed": 0, "failed": 0})
                counted["failed" if is_failed else "passed"] += 1
        return {"rows": dict(sorted(rows.items(), key=lambda row: (row[0][0], int(row[0][1:])))), "figures": figures.read(kept)}


def _named(test: str) -> list[str]:
    """Return the rows that a test's name begins with: P3 and N10 of `test_p3_n10_an_answer_that_is_cut`."""
    words = (word.upper() for word in test.split("_")[1:])
    return list(itertools.takewhile(lambda word: word[0] in "PNMOCHRETB" and word[1:].isdigit(), words))


def _planted_bugs() -> dict[str, Any]:
    from tests.faults.mutation import check_all

    return {"planted_bugs": check_all()}


def _is_broken(found: dict[str, Any]) -> bool:
    rows = any(row["failed"] for row in found.get("rows", {}).values())
    bugs = any(not row["found"] for row in found.get("planted_bugs", {}).values())
    return bool(found["schedules"]["failed"]) or rows or bugs


if __name__ == "__main__":
    sys.exit(main())
