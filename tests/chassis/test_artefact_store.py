"""Versions in object stores: one suite on memory, on a folder and on S3's protocol; and S3 behind a bad wire."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, NotFound, RequestTooLarge, Unavailable
from services.chassis.artefact_cache import opened_cache
from services.chassis.artefact_store import ArtefactStore
from services.chassis.disk_threads import DiskThreads
from services.chassis.object_store import Objects, StoreTimes, open_objects
from tests.chassis.s3_server import S3Server, s3_server
from tests.chassis.stored_versions import contents_of, manifest_of, version, written
from tests.faults.proxy import Proxy, Toxic

QUICK = StoreTimes(connect_seconds=1.0, answer_seconds=1.0, retries=0)
BIG = {"version/model.onnx": os.urandom(1 << 20) * 20, "version/empty.txt": b"", "labels.txt": b"a\nb\n"}
"""More than one part of an upload, and an empty file."""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["memory", "folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "memory":
        return open_objects("memory://")
    if request.param == "folder":
        return open_objects(f"file://{tmp_path}/store")
    server: S3Server = request.getfixturevalue("s3")
    return open_objects(server.bucket(), server.options())


@pytest.fixture
async def threads() -> AsyncIterator[DiskThreads]:
    async with DiskThreads("tests") as opened:
        yield opened


async def names(objects: Objects) -> set[str]:
    return {one.name async for one in objects.list("")}


class Buffer:
    """A target in memory."""

    def __init__(self) -> None:
        self.content = b""
        self.restarts = 0

    async def write(self, chunk: bytes) -> None:
        self.content += chunk

    async def restart(self) -> None:
        self.content = b""
        self.restarts += 1


async def test_what_was_put_comes_back_by_digest(objects: Objects, threads: DiskThreads, tmp_path: Path):
    store, manifest = ArtefactStore(objects, threads), manifest_of(BIG)
    assert not await store.has(manifest.digest)

    assert await store.put(manifest, written(tmp_path / "new", BIG)) == manifest.digest

    assert await store.has(manifest.digest)
    assert await store.manifest(manifest.digest) == manifest
    for file in manifest.files:
        target = Buffer()
        await store.fetch(file, target)
        assert target.content == BIG[file.path]
    async with opened_cache(tmp_path / "cache", 1 << 30, store, tuple) as cache:
        assert contents_of(await cache.ensure(manifest.digest)) == BIG


async def test_putting_a_version_again_sends_nothing_and_a_sibling_only_what_is_new(objects: Objects, threads: DiskThreads, tmp_path: Path):
    store = ArtefactStore(objects, threads)
    await store.put(manifest_of(version(1)), written(tmp_path / "1", version(1)))
    before = await names(objects)
    await store.put(manifest_of(version(1)), {})
    assert await names(objects) == before

    sibling = version(1) | {"labels.txt": b"a"}
    await store.put(manifest_of(sibling), written(tmp_path / "2", sibling))

    assert len(await names(objects)) == len(before) + 2


@pytest.mark.parametrize("size", [100, 20 << 20])
async def test_a_file_that_changes_under_the_upload_is_never_a_blob_and_the_version_never_visible(
    objects: Objects, threads: DiskThreads, tmp_path: Path, size: int
):
    store, contents = ArtefactStore(objects, threads), {"version/model.onnx": b"a" * size}
    sources = written(tmp_path, {"version/model.onnx": b"b" * size})

    with pytest.raises(ArtifactCorrupt):
        await store.put(manifest_of(contents), sources)

    assert await names(objects) == set()
    assert not await store.has(manifest_of(contents).digest)


async def test_an_upload_that_was_cut_short_goes_on_and_is_seen_when_whole(objects: Objects, threads: DiskThreads, tmp_path: Path):
    store, manifest = ArtefactStore(objects, threads), manifest_of(version(1))
    sources = written(tmp_path, version(1))
    with pytest.raises(ArtifactCorrupt):
        await store.put(manifest, sources | {"version/model.onnx": tmp_path / "missing"})
    assert not await store.has(manifest.digest)
    assert len(await names(objects)) == 1

    await store.put(manifest, sources)

    assert await store.has(manifest.digest)


async def test_a_spoilt_blob_is_fetched_twice_and_never_handed_out(objects: Objects, threads: DiskThreads, tmp_path: Path):
    store, manifest = ArtefactStore(objects, threads), manifest_of(version(1))
    await store.put(manifest, written(tmp_path / "new", version(1)))
    file = manifest.file("version/model.onnx")
    assert file is not None
    for spoilt in (b"x" * file.size, b"short", b"x" * (file.size + 1)):
        await objects.put(f"blobs/{file.sha256[:2]}/{file.sha256}", spoilt)
        target = Buffer()
        with pytest.raises(ArtifactCorrupt):
            await store.fetch(file, target)
        assert target.restarts == 2
        assert target.content == b""


async def test_a_spoilt_manifest_is_corrupt_and_an_absent_one_not_found(objects: Objects, threads: DiskThreads):
    store = ArtefactStore(objects, threads)
    await objects.put(f"manifests/{'ab' * 32}.json", b"{}")

    with pytest.raises(ArtifactCorrupt):
        await store.manifest("ab" * 32)
    with pytest.raises(NotFound) as caught:
        await store.manifest("cd" * 32)
    assert caught.value.reason == "ARTEFACT_NOT_FOUND"
    with pytest.raises(InvalidInput):
        await store.manifest("../secret")


async def test_objects_are_read_within_a_limit_and_deleted_twice_without_harm(objects: Objects):
    await objects.put("a", b"12345")

    with pytest.raises(RequestTooLarge):
        await objects.read("a", limit=4)
    assert await objects.read("a", limit=5) == b"12345"
    await objects.delete("a")
    await objects.delete("a")
    assert await objects.size("a") is None


@pytest.fixture
def wire(s3: S3Server) -> Iterator[Proxy]:
    with Proxy("store", lambda: ("127.0.0.1", s3.port)) as proxy:
        yield proxy


async def test_m9_a_download_that_breaks_off_is_resumed_where_it_broke_off(s3: S3Server, wire: Proxy, threads: DiskThreads, tmp_path: Path):
    url = s3.bucket()
    manifest = manifest_of(BIG)
    await ArtefactStore(open_objects(url, s3.options()), threads).put(manifest, written(tmp_path, BIG))
    store = ArtefactStore(open_objects(url, s3.options(wire.port), QUICK), threads)
    file = manifest.file("version/model.onnx")
    assert file is not None
    wire.poison(Toxic(limit_bytes=9 << 20))
    target = Buffer()

    await store.fetch(file, target)

    assert target.content == BIG[file.path]
    assert target.restarts == 0
    assert wire.connections >= 3


@pytest.mark.parametrize("toxic", [Toxic(reset=True), Toxic(hang=True), Toxic(limit_bytes=1)], ids=["reset", "hang", "cut"])
async def test_a_store_that_is_away_is_unavailable_in_time_and_served_from_the_cache(
    s3: S3Server, wire: Proxy, threads: DiskThreads, tmp_path: Path, toxic: Toxic
):
    url = s3.bucket()
    there = ArtefactStore(open_objects(url, s3.options()), threads)
    for number in (1, 2):
        await there.put(manifest_of(version(number)), written(tmp_path / str(number), version(number)))
    store = ArtefactStore(open_objects(url, s3.options(wire.port), QUICK), threads)
    async with opened_cache(tmp_path / "cache", 1 << 30, store, tuple) as cache:
        await cache.ensure(manifest_of(version(1)).digest)
        wire.poison(toxic)
        with pytest.raises(Unavailable) as caught:
            await cache.ensure(manifest_of(version(2)).digest)
        assert caught.value.reason == "STORE_UNAVAILABLE"
        assert "127.0.0.1" not in caught.value.message
        assert contents_of(await cache.verified(manifest_of(version(1)).digest)) == version(1)
        wire.heal()
        assert contents_of(await cache.ensure(manifest_of(version(2)).digest)) == version(2)


async def test_a_store_that_takes_no_upload_shows_nothing_of_it(s3: S3Server, wire: Proxy, threads: DiskThreads, tmp_path: Path):
    url, manifest = s3.bucket(), manifest_of(version(1))
    store = ArtefactStore(open_objects(url, s3.options(wire.port), QUICK), threads)
    wire.poison(Toxic(reset=True))

    with pytest.raises(Unavailable):
        await store.put(manifest, written(tmp_path, version(1)))

    assert await names(open_objects(url, s3.options())) == set()


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "ftp://x", "file://host/x", "s3://", "/tmp/x", "", "gopher://x"])
def test_what_names_no_object_store_is_refused(url: str):
    with pytest.raises(InvalidInput) as caught:
        open_objects(url)

    assert caught.value.reason == "SOURCE_REFUSED"
