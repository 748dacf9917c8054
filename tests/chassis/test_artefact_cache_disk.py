"""The cache of versions on disks that are full, read-only or left behind by a killed process."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.contracts.errors import Unavailable
from tests.chassis.stored_versions import FakeSource, cache_of, contents_of, entries, version


def run(*command: str) -> int:
    """Run a command from the repository's root and return its exit code, or minus its signal."""
    try:
        return subprocess.run(command, check=False, capture_output=True, cwd=Path(__file__).parents[2]).returncode
    except FileNotFoundError:
        return 127


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def small_disk(tmp_path: Path):
    """Return a folder on a file system of 256 KiB; where none may be mounted, of files of at most 96 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)) == 0:
        yield folder
        assert run("umount", str(folder)) == 0
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (96 << 10, hard))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_answered_by_giving_up_the_oldest(small_disk: Path, source: FakeSource):
    digests = [source.add(version(number, size=60 << 10)) for number in range(1, 9)]
    async with cache_of(small_disk, source) as cache:
        for digest in digests:
            assert contents_of(await cache.ensure(digest))["version/model.onnx"] == source.versions[digest]["version/model.onnx"]
        assert digests[-1] in cache.digests
        assert entries(small_disk) == cache.digests


async def test_a_disk_full_of_what_is_in_use_fails_the_fetch_and_nothing_else(small_disk: Path, source: FakeSource):
    kept = source.add(version(1, size=60 << 10))
    large = source.add(version(2, size=240 << 10))
    async with cache_of(small_disk, source, protected={kept}) as cache:
        await cache.ensure(kept)
        with pytest.raises(Unavailable) as caught:
            await cache.ensure(large)
        assert caught.value.reason == "DISK_FULL"
        assert entries(small_disk) == cache.digests == {kept}
        assert contents_of(await cache.verified(kept)) == source.versions[kept]
        after = source.add(version(3, size=40 << 10))
        await cache.ensure(after)


KILLED = """
import asyncio, os, sys
from pathlib import Path
from services.chassis.artefact_cache import opened_cache
from tests.chassis.stored_versions import FakeSource, version
async def main():
    source = FakeSource()
    digest = source.add(version(1))
    source.gate = asyncio.Event()
    async with opened_cache(Path(sys.argv[1]), 1 << 30, source, tuple) as cache:
        asked = asyncio.ensure_future(cache.ensure(digest))
        while not source.fetched:
            await asyncio.sleep(0)
        os.kill(os.getpid(), 9)
asyncio.run(main())
"""


async def test_a_process_killed_in_the_middle_of_a_fetch_leaves_nothing_that_is_taken_for_a_version(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))
    assert run(sys.executable, "-c", KILLED, str(tmp_path)) == -9
    assert any(name.endswith(".tmp") for name in entries(tmp_path))
    async with cache_of(tmp_path, source) as cache:
        assert entries(tmp_path) == set()
        assert contents_of(await cache.ensure(digest)) == version(1)


async def test_a_read_only_disk_still_gives_what_is_there(tmp_path: Path, source: FakeSource):
    digest, other = source.add(version(1)), source.add(version(2))
    disk = tmp_path / "disk"
    disk.mkdir()
    if run("mount", "-t", "tmpfs", "tmpfs", str(disk)) != 0:
        pytest.skip("nobody but root can make a disk read-only")
    try:
        async with cache_of(disk, source) as cache:
            await cache.ensure(digest)
            # The lock's descriptor is open for writing, so only the mount can be made read-only, not the file system.
            assert run("mount", "--bind", str(disk), str(disk)) == 0
            assert run("mount", "-o", "remount,bind,ro", str(disk)) == 0
            assert contents_of(await cache.verified(digest)) == version(1)
            with pytest.raises(Unavailable):
                await cache.ensure(other)
            assert cache.digests == {digest}
            assert run("umount", str(disk)) == 0
            await cache.ensure(other)
    finally:
        run("umount", str(disk))
