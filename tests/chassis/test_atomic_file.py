"""Files are replaced as a whole."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from services.chassis.atomic_file import write_atomically


def test_content_is_replaced_and_private(tmp_path: Path):
    path = tmp_path / "value"
    path.write_bytes(b"old")

    write_atomically(path, b"new", durable=True)

    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["value"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path):
    target = tmp_path / "folder"
    target.mkdir()

    with pytest.raises(OSError, match="directory"):
        write_atomically(target, b"new")

    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_readers_never_see_a_mixture_of_concurrent_writers(tmp_path: Path):
    path = tmp_path / "value"
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    write_atomically(path, contents[0])
    writers = [threading.Thread(target=lambda c=content: [write_atomically(path, c) for _ in range(50)]) for content in contents]

    for writer in writers:
        writer.start()
    seen = [path.read_bytes() for _ in range(200)]
    for writer in writers:
        writer.join()

    assert all(content in contents for content in seen)
