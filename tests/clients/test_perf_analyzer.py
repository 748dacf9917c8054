"""NVIDIA's perf_analyzer, the program itself, against a real serve: what users of Triton measure with works here unchanged.

It comes in a wheel and needs libb64, which no wheel has: the package of the system's distribution is downloaded and unpacked beside the
environment, nothing is installed. Where it cannot be had, these tests fail and say what is missing: nobody believes that they ran.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.clients.environment import CACHE, clean_variables, provide
from tests.clients.server import Server

# The first of them may have to fetch the program.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

PACKAGE = "libb64-0d"
LIBRARY = "libb64.so.0d"


def libb64() -> Path:
    """Return the folder of libb64; fetch it when it is not there.

    Raises:
        AssertionError: the distribution's package cannot be had.
    """
    place = CACHE / PACKAGE
    found = sorted(place.rglob(LIBRARY))
    if not found:
        with tempfile.TemporaryDirectory(prefix=f".{PACKAGE}-", dir=CACHE) as aside:
            _fetch(Path(aside))
            # Another session may have been quicker; one is as good as the other.
            shutil.copytree(Path(aside) / "unpacked", place, symlinks=True, dirs_exist_ok=True)
        found = sorted(place.rglob(LIBRARY))
    assert found, f"{PACKAGE} has no {LIBRARY}"
    return found[0].parent


def _fetch(folder: Path) -> None:
    missing = f"perf_analyzer needs {LIBRARY}, and this machine cannot get it: Debian's package {PACKAGE} is fetched by apt-get"
    assert shutil.which("apt-get"), f"{missing}, which is not here"
    for command in (["apt-get", "download", PACKAGE], ["apt-get", "update"], ["apt-get", "download", PACKAGE]):
        ended = subprocess.run(command, cwd=folder, env=clean_variables(), capture_output=True, text=True, timeout=200, check=False)
        if packages := sorted(folder.glob(f"{PACKAGE}_*.deb")):
            subprocess.run(["dpkg-deb", "-x", packages[0], folder / "unpacked"], check=True, timeout=60)
            return
    raise AssertionError(f"{missing}:\n{ended.stderr}")


def measured(arguments: list[str], folder: Path) -> tuple[str, list[dict[str, str]]]:
    """Run the program; return what it printed and the rows of its report."""
    environment = provide("perf_analyzer")
    (libcudart,) = environment.root.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib")
    report = folder / "report.csv"
    ended = subprocess.run(
        [environment.root / "bin" / "perf_analyzer", *arguments, "-f", report],
        cwd=folder,
        env={**os.environ, "LD_LIBRARY_PATH": f"{libb64()}:{libcudart}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 0, printed
    with report.open() as lines:
        return printed, list(csv.DictReader(lines))


WAYS = {
    "http": ["-i", "http"],
    "grpc": ["-i", "grpc"],
    "grpc stream": ["-i", "grpc", "--streaming", "--async"],
    "http batches": ["-i", "http", "-b", "4"],
}


@pytest.mark.parametrize("way", WAYS)
def test_perf_analyzer_measures_without_a_failed_request_and_reads_our_statistics(way: str, open_server: Server, tmp_path: Path):
    address = open_server.http if "http" in WAYS[way] else open_server.grpc
    # Two windows of 100 requests, and any figure is stable enough: whether it works is asked, not how fast.
    windows = ["--measurement-mode", "count_windows", "--measurement-request-count", "100", "-s", "100000", "-r", "3"]
    printed, rows = measured(["-m", "my_model", "-u", address, "--concurrency-range", "4", *windows, *WAYS[way]], tmp_path)

    assert "Failed" not in printed, printed
    assert "error" not in printed.lower(), printed
    assert "Request count:" in printed, printed
    (row,) = rows
    assert (row["Concurrency"], float(row["Inferences/Second"]) > 0) == ("4", True)
    # What it can only have from ModelStatistics, before and after each window.
    assert "Server:" in printed, printed
    assert all(count > 0 for count in counts(printed, "Inference count:")), printed
    assert all(count > 0 for count in counts(printed, "Execution count:")), printed
    assert float(row["Server Compute Infer"]) > 0, row
    assert float(row["Server Queue"]) >= 0, row


def counts(printed: str, name: str) -> list[int]:
    """Return the numbers behind a name; there must be one."""
    found = [int(line.partition(name)[2].split()[0]) for line in printed.splitlines() if name in line]
    assert found, printed
    return found
