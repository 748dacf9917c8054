"""The cache of versions: its limit, its order, its crashes and its disk."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, NotFound, Unavailable
from services.chassis import cache_folder
from services.chassis.cache_plan import BLOCK_BYTES
from tests.chassis.stored_versions import SIZE, FakeSource, cache_of, contents_of, entries, occupied, version, written


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


async def test_a_version_is_fetched_once_and_found_after_a_restart_even_when_the_store_is_away(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))
    async with cache_of(tmp_path, source) as cache:
        folder = await cache.ensure(digest)
        assert contents_of(folder) == version(1)
    source.is_away = True
    async with cache_of(tmp_path, source) as cache:
        assert cache.digests == {digest}
        assert contents_of(await cache.verified(digest)) == version(1)
    assert len(source.fetched) == 2


async def test_fifty_who_ask_at_once_are_one_fetch(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))
    async with cache_of(tmp_path, source) as cache:
        folders = await asyncio.gather(*(cache.ensure(digest) for _ in range(50)))
    assert len(set(folders)) == 1
    assert sorted(source.fetched) == sorted(version(1))


async def test_those_who_asked_together_hear_of_one_failure_and_the_next_one_tries_anew(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))
    source.gate = asyncio.Event()
    async with cache_of(tmp_path, source) as cache:
        asked = [asyncio.ensure_future(cache.ensure(digest)) for _ in range(5)]
        while not source.fetched:
            await asyncio.sleep(0)
        source.is_away = True
        source.gate.set()
        failures = await asyncio.gather(*asked, return_exceptions=True)
        assert [getattr(one, "reason", one) for one in failures] == ["STORE_UNAVAILABLE"] * 5
        assert len(source.fetched) == 1
        assert entries(tmp_path) == set()
        assert cache.used_bytes == 0
        source.is_away = False
        await cache.ensure(digest)


async def test_a_cancelled_caller_leaves_the_fetch_to_the_next_one(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))
    source.gate = asyncio.Event()
    async with cache_of(tmp_path, source) as cache:
        first, second = asyncio.ensure_future(cache.ensure(digest)), asyncio.ensure_future(cache.ensure(digest))
        while not source.fetched:
            await asyncio.sleep(0)
        first.cancel()
        source.gate.set()
        assert contents_of(await second) == version(1)
        assert first.cancelled()
        assert entries(tmp_path) == {digest}


async def test_the_least_recently_used_goes_first_and_the_limit_holds(tmp_path: Path, source: FakeSource):
    digests = [source.add(version(number)) for number in range(1, 6)]
    async with cache_of(tmp_path, source, 3 * SIZE) as cache:
        for digest in digests[:3]:
            await cache.ensure(digest)
        await cache.ensure(digests[0])
        await cache.ensure(digests[3])
        assert cache.digests == {digests[0], digests[2], digests[3]}
        await cache.ensure(digests[4])
        assert cache.digests == {digests[0], digests[3], digests[4]}
        assert entries(tmp_path) == cache.digests
        assert occupied(tmp_path) <= cache.used_bytes <= 3 * SIZE


async def test_what_is_protected_never_goes_and_what_does_not_fit_is_refused(tmp_path: Path, source: FakeSource):
    first, second, third = (source.add(version(number)) for number in range(1, 4))
    async with cache_of(tmp_path, source, 2 * SIZE, {first, second}) as cache:
        await cache.ensure(first)
        await cache.ensure(second)
        with pytest.raises(Unavailable) as caught:
            await cache.ensure(third)
        assert caught.value.reason == "CACHE_FULL"
        assert cache.digests == {first, second}
        assert contents_of(await cache.verified(first)) == version(1)


async def test_a_version_above_the_whole_limit_evicts_nothing(tmp_path: Path, source: FakeSource):
    small, large = source.add(version(1)), source.add(version(2, size=10 * SIZE))
    async with cache_of(tmp_path, source, 2 * SIZE) as cache:
        await cache.ensure(small)
        with pytest.raises(Unavailable, match="limit"):
            await cache.ensure(large)
        assert cache.digests == {small}


async def test_fetches_side_by_side_keep_the_limit_together(tmp_path: Path, source: FakeSource):
    digests = [source.add(version(number)) for number in range(1, 9)]
    highest = 0

    async with cache_of(tmp_path, source, 3 * SIZE) as cache:

        async def ask(digest: str) -> None:
            nonlocal highest
            with suppress(Unavailable):
                await cache.ensure(digest)
            highest = max(highest, cache.used_bytes)

        for _ in range(5):
            await asyncio.gather(*map(ask, digests))
        assert 0 < highest <= 3 * SIZE
        assert occupied(tmp_path) <= cache.used_bytes


async def test_a_version_spoilt_on_disk_is_noticed_at_load_and_fetched_once_more(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))
    async with cache_of(tmp_path, source) as cache:
        folder = await cache.ensure(digest)
        model = folder / "version/model.onnx"
        before = model.stat()
        with model.open("r+b") as file:
            file.seek(5000)
            file.write(b"\xff")
        os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert contents_of(await cache.verified(digest)) == version(1)
        assert source.fetched.count("version/model.onnx") == 2


async def test_a_spoilt_version_whose_store_is_away_is_not_handed_out(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))
    async with cache_of(tmp_path, source) as cache:
        folder = await cache.ensure(digest)
        (folder / "version/model.onnx").write_bytes(b"short")
        source.is_away = True
        with pytest.raises(Unavailable):
            await cache.verified(digest)
        assert cache.digests == frozenset()


@pytest.mark.parametrize("spoil", ["symlink", "hard link", "gone", "stranger", "manifest"])
async def test_whatever_has_become_of_a_file_it_is_fetched_again(tmp_path: Path, source: FakeSource, spoil: str):
    digest = source.add(version(1))
    async with cache_of(tmp_path / "cache", source) as cache:
        folder = await cache.ensure(digest)
        model = folder / "version/model.onnx"
        elsewhere = tmp_path / "elsewhere"
        if spoil == "stranger":
            (folder / "version/extra.so").write_bytes(b"\x7fELF")
        elif spoil == "manifest":
            (folder.parent / "manifest.json").write_bytes(b"{}")
        else:
            model.rename(elsewhere)
            if spoil == "symlink":
                model.symlink_to(elsewhere)
            elif spoil == "hard link":
                model.hardlink_to(elsewhere)
        assert contents_of(await cache.verified(digest)) == version(1)
        assert model.lstat().st_nlink == 1


async def test_what_a_killed_process_left_is_removed_at_the_start(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))
    async with cache_of(tmp_path, source) as cache:
        await cache.ensure(digest)
    written(tmp_path / f".{'ab' * 32}.77-0.tmp", {"files/version/model.onnx": b"half"})
    written(tmp_path / ("cd" * 32), {"files/version/model.onnx": b"no manifest"})
    written(tmp_path, {"stray": b"x"})
    outside = written(tmp_path.parent / f"{tmp_path.name}-outside", {"file": b"stays"})["file"]
    (tmp_path / "link").symlink_to(outside.parent)
    cut = tmp_path / digest / "files/version/model.onnx"
    async with cache_of(tmp_path, source) as cache:
        assert entries(tmp_path) == cache.digests == {digest}
    cut.write_bytes(b"cut")
    async with cache_of(tmp_path, source) as cache:
        assert entries(tmp_path) == cache.digests == set()
    assert contents_of(outside.parent) == {"file": b"stays"}


async def test_the_order_of_use_survives_a_restart(tmp_path: Path, source: FakeSource):
    first, second, third = (source.add(version(number)) for number in range(1, 4))
    async with cache_of(tmp_path, source, 2 * SIZE) as cache:
        await cache.ensure(first)
        await cache.ensure(second)
        await cache.ensure(first)
    async with cache_of(tmp_path, source, 2 * SIZE) as cache:
        await cache.ensure(third)
        assert cache.digests == {first, third}


async def test_two_processes_do_not_share_a_folder(tmp_path: Path, source: FakeSource):
    async with cache_of(tmp_path, source):
        with pytest.raises(Unavailable, match="another process"):
            async with cache_of(tmp_path, source):
                pass


async def test_a_digest_that_is_none_or_unknown_is_refused(tmp_path: Path, source: FakeSource):
    async with cache_of(tmp_path, source) as cache:
        with pytest.raises(InvalidInput):
            await cache.ensure("../../etc/passwd")
        with pytest.raises(NotFound):
            await cache.ensure("ab" * 32)
        assert entries(tmp_path) == set()


async def test_a_source_that_gives_other_bytes_leaves_nothing(tmp_path: Path, source: FakeSource):
    digest = source.add(version(1))

    async def fetch(file, target):
        await target.write(b"x" * 5000)
        raise ArtifactCorrupt("other bytes")

    source.fetch = fetch  # type: ignore[method-assign]
    async with cache_of(tmp_path, source) as cache:
        with pytest.raises(ArtifactCorrupt):
            await cache.ensure(digest)
        assert entries(tmp_path) == set()
        assert cache.used_bytes == 0


async def test_what_is_asked_for_while_others_are_removed_stays(tmp_path: Path, source: FakeSource, monkeypatch: pytest.MonkeyPatch):
    first, second = source.add(version(1)), source.add(version(2))
    large = source.add(version(3, size=10_000 + BLOCK_BYTES))
    begun, may_go_on = threading.Event(), threading.Event()
    remove = cache_folder.remove_tree

    def slowly(path: Path) -> None:
        begun.set()
        assert may_go_on.wait(60)
        remove(path)

    monkeypatch.setattr(cache_folder, "remove_tree", slowly)
    protected: set[str] = set()
    async with cache_of(tmp_path, source, 2 * SIZE, protected) as cache:
        await cache.ensure(first)
        await cache.ensure(second)
        fetch = asyncio.ensure_future(cache.ensure(large))
        assert await asyncio.to_thread(begun.wait, 60)
        protected.add(second)
        folder = await cache.ensure(second)
        may_go_on.set()
        with pytest.raises(Unavailable) as caught:
            await fetch

        assert caught.value.reason == "CACHE_FULL"
        assert contents_of(folder) == version(2)
