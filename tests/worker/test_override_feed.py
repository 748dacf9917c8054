"""Published overrides reach whoever acts on them with the time at which they were written."""

from __future__ import annotations

from pathlib import Path

from penstock.v1 import worker_pb2 as pb
from services.chassis.clock import SystemClock
from services.worker.override_feed import OverrideFeed
from services.worker.overrides import Override
from tests.worker.folders import put


class Taker:
    def __init__(self) -> None:
        self.taken: list[tuple[str, Override | None]] = []

    def override_changed(self, override: Override | None, model: str) -> None:
        self.taken.append((model, override))


def test_an_override_arrives_with_its_files_time_and_its_end_as_none(tmp_path: Path):
    taker = Taker()
    feed = OverrideFeed(tmp_path, taker, SystemClock())
    written = put(tmp_path / "m.pb").stat().st_mtime

    feed.take("m", pb.ModelOverride(model="m", revision=3))
    feed.take("m", None)

    assert taker.taken == [("m", Override(model="m", revision=3, changed_time=written)), ("m", None)]


def test_a_file_that_is_named_for_another_model_is_ignored(tmp_path: Path):
    taker = Taker()

    OverrideFeed(tmp_path, taker, SystemClock()).take("m", pb.ModelOverride(model="other", revision=3))

    assert taker.taken == []
