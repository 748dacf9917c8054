"""The folder that the processes of one serve share."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from services.chassis.process import CannotStart
from services.embedded.run_folder import SUBFOLDERS, opened


def test_a_made_folder_is_private_and_goes_away(short_dir: Path):
    with opened(None, short_dir / "runtime") as folder:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert all((folder / name).is_dir() for name in SUBFOLDERS)
        made = folder.path

    assert not made.exists()


def test_without_a_runtime_folder_one_is_made_elsewhere():
    with opened(None, None) as folder:
        assert folder.path.is_dir()
    assert not folder.path.exists()


def test_a_named_folder_stays_and_keeps_its_overrides_only(short_dir: Path):
    with opened(short_dir / "s", None) as folder:
        (folder / "overrides" / "digits.pb").write_bytes(b"kept")
        (folder / "workers" / "worker-0.pb").write_bytes(b"stale")
        (folder / "links" / "worker-0.sock").touch()

    with opened(short_dir / "s", None) as folder:
        assert (folder / "overrides" / "digits.pb").read_bytes() == b"kept"
        assert list(folder.workers.iterdir()) == []
        assert list((folder / "links").iterdir()) == []


def test_one_serve_at_a_time_uses_a_folder(short_dir: Path):
    with opened(short_dir / "s", None), pytest.raises(CannotStart, match="another serve uses"), opened(short_dir / "s", None):
        pass


def test_left_overs_of_dead_serves_are_removed_and_living_ones_are_not(short_dir: Path):
    dead, alive = short_dir / "run-4194999", short_dir / f"run-{os.getppid()}"
    for former in (dead, alive):
        (former / "links").mkdir(parents=True)

    with opened(None, short_dir):
        assert not dead.exists()
        assert alive.exists()


def test_a_path_too_long_for_sockets_is_refused(short_dir: Path):
    with pytest.raises(CannotStart, match=r"too long.*--state-dir"), opened(short_dir / ("x" * 90), None):
        pass


def test_a_link_in_place_of_the_folder_is_refused(short_dir: Path):
    (short_dir / "elsewhere").mkdir()
    (short_dir / "s").symlink_to(short_dir / "elsewhere")

    with pytest.raises(CannotStart, match="link"), opened(short_dir / "s", None):
        pass


def test_a_folder_that_cannot_be_made_is_refused(short_dir: Path):
    (short_dir / "file").touch()

    with pytest.raises(CannotStart, match=r"cannot make .*--state-dir"), opened(short_dir / "file" / "s", None):
        pass
