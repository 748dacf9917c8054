"""A relay that is killed anywhere loses nothing, and what was acknowledged is there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.clock import SystemClock
from services.controller.relay_loop import RelayLoop
from tests.controller.relay_child import CHANGES, DEADLY, ROWS, Death, FileBus
from tests.controller.stand import standing

ROOT = Path(__file__).parents[2]


def run(url: str, folder: Path, place: str) -> int:
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "tests.controller.relay_child", url, str(folder), place]
        return subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, timeout=50, check=False).returncode


def lines(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("place", ["before_commit", "after_commit", "in_publish", "before_mark", "after_mark"])
async def test_every_committed_message_is_published_in_order_whoever_dies_where(database_url: str, tmp_path: Path, place: str):
    assert run(database_url, tmp_path, place) == -signal.SIGKILL, (tmp_path / "log").read_text()

    async with standing(database_url) as stand:
        relay = RelayLoop(stand.catalogue, FileBus(tmp_path / "bus", Death("")), SystemClock(), is_writer=lambda: True)
        while await relay.publish_waiting():
            pass
        committed = [number for (number,) in await stand.sql("SELECT sequence FROM outbox ORDER BY sequence")]
        audit = await stand.audit()

    published, acknowledged = lines(tmp_path / "bus"), lines(tmp_path / "acknowledged")
    assert committed == list(range(1, len(committed) + 1))
    assert len(committed) == ROWS * len(audit)
    assert len(audit) >= len(acknowledged) == len(set(acknowledged))
    assert list(dict.fromkeys(published)) == committed
    assert len(published) <= len(committed) + ROWS
    assert len(audit) <= DEADLY


async def test_the_child_that_nobody_kills_publishes_everything_once(database_url: str, tmp_path: Path):
    assert run(database_url, tmp_path, "nowhere") == 0, (tmp_path / "log").read_text()

    assert lines(tmp_path / "bus") == list(range(1, CHANGES * ROWS + 1))
    assert lines(tmp_path / "acknowledged") == list(range(CHANGES))
