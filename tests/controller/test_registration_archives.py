"""Archives of strangers: every one that is refused is refused for its own reason, leaves nothing, and harms nobody after it."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from penstock.contracts.errors import ArtifactCorrupt, ServingError
from penstock.contracts.status import GrpcCode
from services.controller.registration_values import Archive
from tests.controller.registering import GOOD, kit, member, raw_tar, tar, zip_entry, zipped

ONNX = GOOD["model.onnx"]
ZEROS = bytes(20 << 20)


def duplicated_zip() -> bytes:
    """Return a zip whose entries all point at one local file: the shape of the quine and of Fifield's bombs."""
    content = zipped({"a": bytes(1000)})
    end = content.rindex(b"PK\x05\x06")
    listed = content[content.index(b"PK\x01\x02") : end]
    renamed = [one[:46] + bytes([97 + number]) + one[47:] for number, one in enumerate([listed] * 3)]
    body, directory = content[: content.index(b"PK\x01\x02")], b"".join(renamed)
    return body + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, len(directory), len(body), 0)


def changed(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def with_flags(content: bytes, flags: int) -> bytes:
    """Set flag bits in a zip's local and central header."""
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(mark) + offset
        content = changed(content, at, struct.pack("<H", flags))
    return content


def latin_name() -> bytes:
    return zipped({"caf_.onnx": ONNX}).replace(b"caf_", b"caf\xe9")


def lying_zip64() -> bytes:
    content = zipped(GOOD)
    at = content.rindex(b"PK\x05\x06")
    return changed(content, at + 8, b"\xff\xff\xff\xff")


def zip_with(**changes: object) -> bytes:
    return zipped([(zip_entry("model.onnx", **changes), b"/etc/passwd")])


def wrong_crc() -> bytes:
    content = zipped(GOOD)
    return changed(content, content.index(b"PK\x01\x02") + 16, b"\0\1\2\3")


def long_pax(size: int) -> bytes:
    """Return a tar whose extended header claims `size` bytes."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, size
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def many(number: int) -> dict[str, bytes]:
    return GOOD | {f"f{index}.txt": b"" for index in range(number)}


def link_chain() -> bytes:
    """Return the shape of CVE-2025-4517: long folders and links that make a checked path another one."""
    deep = "/".join("d" * 200 for _ in range(2))
    return raw_tar(
        member(deep, type=tarfile.DIRTYPE),
        member("a", type=tarfile.SYMTYPE, linkname=deep),
        member("a/b", type=tarfile.SYMTYPE, linkname="../" * 12),
        member("escape", type=tarfile.LNKTYPE, linkname="a/b/tmp/escaped"),
    )


ROWS: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "IU1 nothing": (lambda: b"", "BAD_ARCHIVE"),
    "IU1 empty tar": (lambda: tar({}), "UNSUPPORTED_FORMAT"),
    "IU1 empty zip": (lambda: zipped({}), "UNSUPPORTED_FORMAT"),
    "IU2 too large, sent so": (lambda: tar({"model.onnx": os.urandom(5 << 20)}), "ARTEFACT_TOO_LARGE"),
    "IU2 too large, unpacked so": (lambda: tar(GOOD | {"a.txt": os.urandom(1000) * 4200}, compressed=True), "ARTEFACT_TOO_LARGE"),
    **{
        f"IU10 {kind.__name__} {name!r}": (lambda kind=kind, name=name: kind({name: ONNX}), "BAD_MANIFEST")
        for kind in (tar, zipped)
        for name in ("../model.onnx", "/abs/model.onnx", "..\\model.onnx", "C:model.onnx", "a/../../model.onnx", "a//model.onnx")
    },
    **{
        f"IU11 tar {name}": (lambda kind=kind: raw_tar(member("model.onnx", type=kind, linkname="/etc/passwd")), "BAD_ARCHIVE")
        for name, kind in {
            "symlink": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "block device": tarfile.BLKTYPE,
            "pipe": tarfile.FIFOTYPE, "sparse": tarfile.GNUTYPE_SPARSE, "volume": b"V", "unknown": b"~",
        }.items()
    },
    "IU11 zip symlink": (lambda: zip_with(external_attr=(stat.S_IFLNK | 0o777) << 16), "BAD_ARCHIVE"),
    "IU11 zip pipe": (lambda: zip_with(external_attr=stat.S_IFIFO << 16), "BAD_ARCHIVE"),
    "IU12 chain of links": (link_chain, "BAD_ARCHIVE"),
    "IU12 name of 4000": (lambda: tar({"d/" * 2000 + "model.onnx": ONNX}), "BAD_MANIFEST"),
    "IU12 extended header of 8 GiB": (lambda: long_pax(8 << 30), "BAD_ARCHIVE"),
    "IU12 long name of 1 MiB": (lambda: tar({"d" * (1 << 20): ONNX}), "BAD_ARCHIVE"),
    "IU13 zeros in a zip": (lambda: zipped({"model.onnx": ONNX, "a.txt": ZEROS}), "ARTEFACT_TOO_LARGE"),
    "IU13 zeros in a tar.gz": (lambda: tar(GOOD | {"a.txt": ZEROS}, compressed=True), "ARTEFACT_TOO_LARGE"),
    "IU13 within the size, beyond the ratio": (lambda: zipped({"model.onnx": ONNX, "a.txt": bytes(3 << 20)}), "ARTEFACT_TOO_LARGE"),
    "IU13 entries that overlap": (duplicated_zip, "BAD_ARCHIVE"),
    "IU14 many entries in a tar": (lambda: tar(many(200)), "ARTEFACT_TOO_LARGE"),
    "IU14 many entries in a zip": (lambda: zipped(many(200)), "BAD_ARCHIVE"),
    "IU14 many folders": (lambda: raw_tar(*(member(f"d{n}", type=tarfile.DIRTYPE) for n in range(200))), "ARTEFACT_TOO_LARGE"),
    "IU15 twice": (lambda: raw_tar(member("model.onnx", ONNX), member("model.onnx", ONNX)), "BAD_ARCHIVE"),
    "IU15 by case": (lambda: tar({"model.onnx": ONNX, "Model.ONNX": ONNX}), "BAD_ARCHIVE"),
    "IU15 by case, zip": (lambda: zipped({"model.onnx": ONNX, "Model.ONNX": ONNX}), "BAD_ARCHIVE"),
    "IU15 by Unicode form": (lambda: tar(GOOD | {"e\u0301.txt": b""}), "BAD_MANIFEST"),
    "IU15 file and folder": (lambda: raw_tar(member("a", b"x"), member("a/model.onnx", ONNX)), "BAD_ARCHIVE"),
    "IU16 NUL": (lambda: zipped({"model.onnx_x": ONNX}).replace(b"onnx_x", b"onnx\0x"), "BAD_MANIFEST"),
    "IU16 newline": (lambda: tar({"model.onnx": ONNX, "a\nb.txt": b""}), "BAD_MANIFEST"),
    "IU16 not UTF-8, tar": (lambda: tar({"caf_.onnx": ONNX}).replace(b"caf_", b"caf\xe9"), "BAD_ARCHIVE"),
    "IU16 not UTF-8, zip": (latin_name, "BAD_ARCHIVE"),
    "IU17 encrypted": (lambda: with_flags(zipped(GOOD), 1), "BAD_ARCHIVE"),
    "IU17 zip64 that lies": (lying_zip64, "BAD_ARCHIVE"),
    "IU17 wrong CRC": (wrong_crc, "BAD_ARCHIVE"),
    "IU17 after the end, zip": (lambda: zipped(GOOD) + b"more", "BAD_ARCHIVE"),
    "IU17 before the start, zip": (lambda: b"PK more" + zipped(GOOD), "BAD_ARCHIVE"),
    "IU17 after the end, tar": (lambda: tar(GOOD) + b"more", "BAD_ARCHIVE"),
    "IU17 after the end, gzip": (lambda: tar(GOOD, compressed=True) + b"more", "BAD_ARCHIVE"),
    "IU17 other compression": (lambda: zipped([(zip_entry("model.onnx", compress_type=zipfile.ZIP_LZMA), ONNX)]), "BAD_ARCHIVE"),
    **{
        f"IU18 {name}": (lambda name=name: tar(GOOD | {name: zipped(GOOD)}), "UNSUPPORTED_FORMAT")
        for name in ("inner.zip", "inner.tar", "inner.tar.gz", "inner.whl")
    },
    **{
        f"IU42 {name}": (lambda name=name: tar(GOOD | {name: b"\x80\x04\x95"}), "UNSUPPORTED_FORMAT")
        for name in ("model.pkl", "model.joblib", "model.pt", "model.npy", "model.keras", "hook.py", "ops.so", "a/b.PKL", "other", "w.bin")
    },
    **{
        f"IU43 {name}": (lambda name=name: tar({name: b"\0\0\0\0ORTM"}), "UNSUPPORTED_FORMAT")
        for name in ("model.ort", "model.engine", "model.plan", "model.onnx.gpg")
    },
    "IU43 .ort under another name": (lambda: tar({"model.onnx": b"\x20\0\0\0ORTM" + bytes(100)}), "BAD_MODEL"),
    "IU44 a manifest in YAML": (lambda: tar(GOOD | {"model.yaml": b"a: &a [*a]"}), "UNSUPPORTED_FORMAT"),
    "two folders, no model": (lambda: tar({"a/x.txt": b"", "b/y.txt": b""}), "UNSUPPORTED_FORMAT"),
    "a folder that is no version": (lambda: tar({"1/model.onnx": ONNX, "other/x.txt": b""}), "UNSUPPORTED_FORMAT"),
    "a version's name that is none": (lambda: tar({"1/model.onnx": ONNX, "_x/model.onnx": ONNX}), "BAD_NAME"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
async def test_a_bad_archive_is_refused_for_its_reason_and_leaves_nothing(tmp_path: Path, row: str):
    make, reason = ROWS[row]
    async with kit(tmp_path) as here:
        with pytest.raises(ServingError) as caught:
            await here.register(here.archive(make()))

        assert caught.value.reason == reason
        assert caught.value.status.grpc is (GrpcCode.RESOURCE_EXHAUSTED if reason == "ARTEFACT_TOO_LARGE" else GrpcCode.INVALID_ARGUMENT)
        assert await here.leftovers() == []
        await here.register(here.archive(tar(GOOD)))


@pytest.mark.parametrize("cut", ["tar", "tar.gz", "zip"])
async def test_an_archive_cut_anywhere_is_refused_and_leaves_nothing(tmp_path: Path, cut: str):
    whole = {"tar": tar(GOOD), "tar.gz": tar(GOOD, compressed=True), "zip": zipped(GOOD)}[cut]
    needed = whole.rstrip(b"\0") if cut == "tar" else whole
    async with kit(tmp_path) as here:
        for length in range(0, len(needed), max(1, len(needed) // 25)):
            with pytest.raises(ServingError) as caught:
                await here.register(here.archive(whole[:length]))
            assert caught.value.status.grpc is GrpcCode.INVALID_ARGUMENT
        assert await here.leftovers() == []


@pytest.mark.parametrize(
    "content",
    [
        tar(GOOD), tar(GOOD, compressed=True), zipped(GOOD), zipped({"churn/1/model.onnx": ONNX}), tar({"./churn/model.onnx": ONNX}),
        tar(GOOD | {"README.md": b"#", ".DS_Store": b"x", "__MACOSX/x": b"", "a.tmp": b""}),
        gzip.compress(tar(GOOD)), raw_tar(member("d", type=tarfile.DIRTYPE), member("d/model.onnx", ONNX)),
        zipped([("d/", b""), ("d/model.onnx", ONNX)]),
    ],
    ids=["tar", "tar.gz", "zip", "model and version", "dot", "notes", "gzip", "folder", "zip folder"],
)  # fmt: skip
async def test_a_good_archive_is_a_version_whose_digest_is_that_of_its_files_alone(tmp_path: Path, content: bytes):
    async with kit(tmp_path) as here:
        registered = await here.register(here.archive(content))

        assert [file.path for file in registered.manifest.files] == ["version/model.onnx"]
        assert registered.digest == (await here.register(here.archive(tar(GOOD)))).digest
        assert list((tmp_path / "staging").iterdir()) == []


def modes_below(folder: Path) -> list[int]:
    return [path.stat().st_mode for path in folder.rglob("*") if path.is_file()]


async def test_modes_and_owners_are_not_kept(tmp_path: Path):
    """IU19."""
    seen: list[int] = []

    class Looking:
        async def examine(self, model: str, version: str, folder: Path):
            seen.extend(modes_below(folder))
            raise ArtifactCorrupt("seen enough")

    async with kit(tmp_path, examiner=Looking()) as here:
        for content in (
            raw_tar(member("model.onnx", ONNX, mode=0o6777, uid=0, uname="root")),
            zipped([(zip_entry("model.onnx", external_attr=(stat.S_IFREG | 0o6777) << 16), ONNX)]),
        ):
            with pytest.raises(ArtifactCorrupt):
                await here.register(here.archive(content))

    assert [stat.S_IMODE(mode) for mode in seen] == [0o600, 0o600]


async def test_an_archive_that_is_not_what_its_sender_said_is_refused(tmp_path: Path):
    """IU3, IU4."""
    async with kit(tmp_path) as here:
        sent = here.archive(tar(GOOD))
        with pytest.raises(ArtifactCorrupt) as caught:
            await here.register(Archive(path=sent.path, sha256="ab" * 32))
        assert caught.value.status.grpc is GrpcCode.DATA_LOSS
        with pytest.raises(ServingError) as caught:
            await here.register(Archive(path=sent.path, size=7))
        assert caught.value.reason == "BAD_UPLOAD"
        assert await here.leftovers() == []


async def test_a_million_entries_are_refused_before_they_are_listed(tmp_path: Path):
    """IU14: the end record says how many there are."""
    listed = b"".join(b"PK\x01\x02" + bytes(42) for _ in range(50_000))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50_000, 50_000, len(listed), 0, 0)
    async with kit(tmp_path) as here:
        with pytest.raises(ServingError, match="entries"):
            await here.register(here.archive(listed + end))


def test_the_rows_that_need_a_readable_archive_have_one():
    with tarfile.open(fileobj=io.BytesIO(tar(GOOD))) as tarred, zipfile.ZipFile(io.BytesIO(duplicated_zip())) as overlapping:
        assert tarred.getnames() == ["model.onnx"]
        assert overlapping.namelist() == ["a", "b", "c"]
