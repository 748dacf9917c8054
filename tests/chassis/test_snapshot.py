"""The last good state on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.chassis.snapshot import Snapshot


def text_snapshot(path: Path) -> Snapshot[str]:
    return Snapshot(path, lambda text: text.encode(), lambda content: content.decode())


def test_a_saved_state_is_loaded_by_the_next_process(tmp_path: Path):
    text_snapshot(tmp_path / "deep" / "state").save("routes")

    assert text_snapshot(tmp_path / "deep" / "state").load() == "routes"


def test_no_file_is_no_state(tmp_path: Path):
    assert text_snapshot(tmp_path / "state").load() is None


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:5], lambda c: b"", lambda c: c[:-1] + b"x", lambda c: b"x" + c[1:]])
def test_a_damaged_file_is_no_state_and_is_set_aside(tmp_path: Path, damage):
    snapshot = text_snapshot(tmp_path / "state")
    snapshot.save("routes")
    (tmp_path / "state").write_bytes(damage((tmp_path / "state").read_bytes()))

    assert snapshot.load() is None
    assert (tmp_path / "state.unreadable").exists()


def test_a_state_that_the_decoder_refuses_is_no_state(tmp_path: Path):
    Snapshot(tmp_path / "state", bytes, bytes).save(b"\xff\xfe")

    assert text_snapshot(tmp_path / "state").load() is None


def test_a_folder_that_cannot_be_read_is_no_state(tmp_path: Path):
    (tmp_path / "state").mkdir()

    assert text_snapshot(tmp_path / "state").load() is None
