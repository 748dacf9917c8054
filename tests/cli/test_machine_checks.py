"""The machine is judged by its figures, and the figures are the system's."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from penstock.cli import machine_checks as checks
from penstock.cli.findings import Finding, Verdict

GIB, MIB = 1 << 30, 1 << 20
OK, NOTE, WARNING, BROKEN = Verdict.OK, Verdict.NOTE, Verdict.WARNING, Verdict.BROKEN


@pytest.mark.parametrize(
    ("finding", "verdict", "found"),
    [
        (checks.judge_python((3, 11, 0)), OK, "3.11.0"),
        (checks.judge_python((3, 10, 9)), BROKEN, "3.10.9 is too old"),
        (checks.judge_platform("Linux", "aarch64"), OK, "Linux on aarch64"),
        (checks.judge_platform("Linux", "riscv64"), WARNING, "Linux on riscv64: packages may lack wheels"),
        (checks.judge_platform("Darwin", "arm64"), BROKEN, "Darwin on arm64: servers run on Linux"),
        (checks.judge_cores(4, None), OK, "4 usable"),
        (checks.judge_cores(8, 1.5), WARNING, "8 usable, limited to 1.5 by the container: router and worker share one"),
        (checks.judge_cores(1, None), WARNING, "1 usable: router and worker share one"),
        (checks.judge_memory(2 * GIB, 4 * GIB), OK, "2.0 of 4.0 GiB available"),
        (checks.judge_memory(GIB // 2, 4 * GIB), WARNING, "0.5 of 4.0 GiB available"),
        (checks.judge_clock(0), OK, "synchronised"),
        (checks.judge_clock(5), WARNING, "not synchronised: times of logs and traces differ between machines"),
        (checks.judge_clock(None), NOTE, "cannot be asked here"),
        (checks.judge_open_files(65536, 65536), OK, "at most 65536"),
        (checks.judge_open_files(resource.RLIM_INFINITY, resource.RLIM_INFINITY), OK, "no limit"),
        (checks.judge_open_files(1024, 1048576), WARNING, "at most 1024: so many connections, less some"),
        (checks.judge_shared_memory(64 * MIB), OK, "64 MiB free"),
        (checks.judge_shared_memory(32 * MIB), WARNING, "32 MiB free"),
        (checks.judge_shared_memory(None), WARNING, "is not there"),
        (checks.judge_disk(Path("/x"), 10 * GIB), OK, "10.0 GiB free at /x"),
        (checks.judge_disk(Path("/x"), GIB // 2), WARNING, "0.5 GiB free at /x"),
        (checks.judge_disk(Path("/x"), 0), BROKEN, "0.0 GiB free at /x"),
        (checks.judge_disk(Path("/x"), None), BROKEN, "/x cannot be read"),
    ],
)
def test_figures_are_judged(finding: Finding, verdict: Verdict, found: str):
    assert (finding.verdict, finding.found) == (verdict, found)
    assert bool(finding.fix) is (verdict in {WARNING, BROKEN})


@pytest.mark.parametrize(
    ("hard", "fix"),
    [
        (resource.RLIM_INFINITY, "ulimit -n 16384"),
        (8192, "ulimit -n 8192"),
        (1024, "ulimit -n 1024"),
        (10**6, "ulimit -n 16384"),
    ],
)
def test_a_limit_of_files_is_raised_as_far_as_the_user_may(hard: int, fix: str):
    assert checks.judge_open_files(1024, hard).fix == fix


def test_the_machines_own_figures_are_read():
    available, total = checks.memory_bytes()

    assert 0 < available <= total
    assert checks.clock_state() in {None, *range(6)}
    assert (checks.cpu_quota() or 1) > 0
    assert (checks.free_bytes(Path("/")) or 0) > 0


def test_a_folder_to_be_made_is_judged_by_the_one_above(tmp_path: Path):
    assert checks.existing(tmp_path / "a" / "b") == tmp_path
    assert checks.free_bytes(tmp_path / "a") is None


def test_every_check_of_the_machine_finds_something(tmp_path: Path):
    found = [finding.check for finding in checks.machine_findings(tmp_path / "penstock")]

    assert found[:7] == ["python", "platform", "cores", "memory", "clock", "open files", "/dev/shm"]
    assert set(found[7:]) == {"disk"}
