"""Uploads: chunk by chunk, in order, checked when whole, gone when abandoned."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from penstock.contracts.artefacts import ManifestFile
from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, RequestTooLarge, ServingError
from penstock.contracts.status import GrpcCode
from services.controller.registration_values import Uploaded
from services.controller.uploads import UploadArea, UploadLimits
from tests.chassis.manual_clock import ManualClock
from tests.controller.registering import GOOD, kit

CONTENT = os.urandom(3000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def area(tmp_path: Path, clock: ManualClock) -> UploadArea:
    opened = UploadArea(tmp_path / "uploads", UploadLimits(file_bytes=10_000), clock.now)
    opened.open()
    return opened


def send(area: UploadArea, content: bytes = CONTENT, digest: str = DIGEST, *, chunk: int = 1000) -> None:
    for at in range(0, len(content), chunk):
        area.write(digest, len(content), at, content[at : at + chunk])


def test_chunks_in_order_become_a_checked_file(area: UploadArea):
    area.write(DIGEST, 3000, 0, CONTENT[:1000])
    assert area.received(DIGEST) == (1000, False)
    with pytest.raises(InvalidInput):
        area.finished(DIGEST)
    area.write(DIGEST, 3000, 1000, CONTENT[1000:])

    assert area.received(DIGEST) == (3000, True)
    assert area.finished(DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("offset", "size", "length"),
    [(0, 3000, 1000), (999, 3000, 1), (1001, 3000, 1), (2000, 3000, 1000), (1000, 2999, 10), (1000, 3000, 2001), (-1, 3000, 1)],
    ids=["repeated", "back", "gap", "out of order", "another size", "beyond", "negative"],
)
def test_a_chunk_that_does_not_begin_where_the_upload_stopped_is_refused_and_harms_nothing(
    area: UploadArea, offset: int, size: int, length: int
):
    """IU4, IU5."""
    area.write(DIGEST, 3000, 0, CONTENT[:1000])

    with pytest.raises(InvalidInput) as caught:
        area.write(DIGEST, size, offset, CONTENT[:length])

    assert caught.value.reason == "BAD_UPLOAD"
    area.write(DIGEST, 3000, 1000, CONTENT[1000:])
    assert area.finished(DIGEST).read_bytes() == CONTENT


def test_content_that_is_not_the_digests_is_data_loss_and_gone(area: UploadArea, tmp_path: Path):
    """IU3."""
    with pytest.raises(ArtifactCorrupt) as caught:
        send(area, CONTENT[:-1] + b"x")

    assert caught.value.status.grpc is GrpcCode.DATA_LOSS
    assert list((tmp_path / "uploads").iterdir()) == []
    assert area.received(DIGEST) == (0, False)
    send(area)
    assert area.received(DIGEST)[1]


def test_a_file_above_the_limit_is_refused_by_its_word(area: UploadArea, tmp_path: Path):
    """IU2."""
    with pytest.raises(RequestTooLarge) as caught:
        area.write(DIGEST, 10_001, 0, b"x")

    assert caught.value.status.http == 413
    assert list((tmp_path / "uploads").iterdir()) == []


def test_an_upload_that_nobody_goes_on_with_is_removed_after_a_minute(area: UploadArea, clock: ManualClock, tmp_path: Path):
    """IU6."""
    area.write(DIGEST, 3000, 0, CONTENT[:1000])
    clock.advance(59)
    assert area.sweep() == 0
    area.write(DIGEST, 3000, 1000, CONTENT[1000:2000])
    clock.advance(59)
    assert area.sweep() == 0
    clock.advance(1)
    assert area.sweep() == 1
    assert list((tmp_path / "uploads").iterdir()) == []
    send(area)
    clock.advance(3599)
    assert area.sweep() == 0
    clock.advance(1)
    assert area.sweep() == 1


def test_what_an_earlier_process_left_is_removed(area: UploadArea, tmp_path: Path):
    area.write(DIGEST, 3000, 0, CONTENT[:1000])

    again = UploadArea(tmp_path / "uploads", UploadLimits())
    again.open()

    assert list((tmp_path / "uploads").iterdir()) == []
    assert again.received(DIGEST) == (0, False)


@pytest.mark.parametrize("digest", ["../../etc/cron.d/x", "", "AB" * 32])
def test_a_name_that_is_no_digest_never_becomes_a_path(area: UploadArea, digest: str):
    with pytest.raises(InvalidInput):
        area.write(digest, 1, 0, b"x")


def test_an_empty_file_is_whole_at_its_first_chunk(area: UploadArea):
    empty = hashlib.sha256(b"").hexdigest()
    area.write(empty, 0, 0, b"")

    assert area.finished(empty).read_bytes() == b""


async def test_uploaded_files_become_a_version(tmp_path: Path):
    content = GOOD["model.onnx"]
    digest = hashlib.sha256(content).hexdigest()
    named = Uploaded(files=(ManifestFile(path="model.onnx", size=len(content), sha256=digest),))
    async with kit(tmp_path) as here:
        with pytest.raises(ServingError) as caught:
            await here.register(named)
        assert caught.value.reason == "BAD_UPLOAD"
        assert await here.leftovers() == []
        send(here.uploads, content, digest)
        registered = await here.register(named)
        wrong = Uploaded(files=(ManifestFile(path="model.onnx", size=len(content) + 1, sha256=digest),))
        with pytest.raises(ServingError) as caught:
            await here.register(wrong, version="2")
        assert caught.value.reason == "BAD_UPLOAD"

    assert registered.manifest.file("version/model.onnx") is not None


def packed(folder: Path, kind: str) -> bytes:
    version = folder / "version"
    version.mkdir()
    (version / "model.onnx").write_bytes(GOOD["model.onnx"])
    return Path(shutil.make_archive(str(folder / "packed"), kind, version)).read_bytes()


@pytest.mark.parametrize(("name", "kind"), [("fraud-3.tar.gz", "gztar"), ("fraud-3.tar", "tar"), ("fraud-3.zip", "zip")])
async def test_an_archive_that_is_uploaded_alone_is_unpacked(name: str, kind: str, tmp_path: Path):
    content = packed(tmp_path, kind)
    digest = hashlib.sha256(content).hexdigest()
    async with kit(tmp_path) as here:
        send(here.uploads, content, digest)
        registered = await here.register(Uploaded(files=(ManifestFile(path=name, size=len(content), sha256=digest),)))

    assert [file.path for file in registered.manifest.files] == ["version/model.onnx"]
