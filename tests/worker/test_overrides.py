"""Files that a client sends become a model folder, and cannot be written anywhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.contracts.errors import InvalidInput
from penstock.v1 import worker_pb2 as pb
from services.worker.overrides import STALE_SECONDS, Override, checked_path, write_files


def override(**files: bytes) -> Override:
    return Override(model="m", revision=1, files={name.replace("__", "/"): content for name, content in files.items()})


def test_an_override_is_read_from_its_wire_form():
    proto = pb.ModelOverride(model="m", revision=7, unloaded=True, config_json="{}", failed_versions={"2": "crashed"})

    read = Override.from_proto(proto, changed_time=3.0)

    assert (read.revision, read.is_unloaded, read.config_json, read.failed_versions) == (7, True, "{}", {"2": "crashed"})


def test_files_are_written_once_for_the_same_content(tmp_path: Path):
    first = write_files(override(**{"1__model": b"a"}), tmp_path)
    inode = (first / "1" / "model").stat().st_ino
    second = write_files(override(**{"1__model": b"a"}), tmp_path)

    assert (second, (second / "1" / "model").stat().st_ino) == (first, inode)
    assert (first / "1" / "model").read_bytes() == b"a"


def test_other_files_get_another_folder_and_old_ones_go_when_they_are_stale(tmp_path: Path):
    old = write_files(override(**{"1__model": b"a"}), tmp_path)
    recent = write_files(override(**{"1__model": b"b"}), tmp_path)
    os.utime(old, (0, old.stat().st_mtime - STALE_SECONDS - 1))

    new = write_files(override(**{"1__model": b"c"}), tmp_path)

    assert {path.name for path in (tmp_path / "m").iterdir()} == {recent.name, new.name}


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "1/../../x", ".hidden/x", "1\\x", "1/a\nb", "x" * 600])
def test_a_path_that_leaves_the_folder_is_refused_and_nothing_is_written(tmp_path: Path, path: str):
    with pytest.raises(InvalidInput):
        checked_path(path)
    with pytest.raises(InvalidInput):
        write_files(Override(model="m", revision=1, files={path: b"x"}), tmp_path / "files")
    assert not list((tmp_path / "files" / "m").iterdir())
