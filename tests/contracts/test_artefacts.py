"""Manifests: one form, one digest, names that are safe wherever they are read."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.artefacts import MAX_FILES, MAX_PATH_BYTES, Manifest, ManifestFile, check_path
from penstock.contracts.errors import ArtifactCorrupt, InvalidInput
from penstock.contracts.status import GrpcCode

DIGEST = "ab" * 32


def file(path: str, size: int = 3, sha256: str = DIGEST) -> ManifestFile:
    return ManifestFile(path=path, size=size, sha256=sha256)


names = st.text(st.sampled_from("abcXYZ019_-é"), min_size=1, max_size=12)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
files = st.lists(st.builds(file, paths, st.integers(0, 2**30)), min_size=1, max_size=8)


def test_the_digest_is_that_of_the_canonical_bytes():
    manifest = Manifest.of([file("version/model.onnx")])

    assert manifest.to_bytes() == (
        b'{"files":[{"path":"version/model.onnx","sha256":"' + DIGEST.encode() + b'","size":3}],"kind":"onnx","schema":1}'
    )
    assert manifest.digest == hashlib.sha256(manifest.to_bytes()).hexdigest()


@settings(deadline=None)
@given(files, st.randoms())
def test_the_order_of_files_changes_nothing_and_bytes_come_back_as_the_same_manifest(entries: list[ManifestFile], random):
    try:
        manifest = Manifest.of(entries)
    except InvalidInput:  # names that collide
        return
    shuffled = list(entries)
    random.shuffle(shuffled)

    assert Manifest.of(shuffled) == manifest
    assert Manifest.from_bytes(manifest.to_bytes(), digest=manifest.digest) == manifest


@settings(deadline=None)
@given(files, st.data())
def test_any_changed_byte_is_noticed(entries: list[ManifestFile], draw):
    try:
        manifest = Manifest.of(entries)
    except InvalidInput:
        return
    content = bytearray(manifest.to_bytes())
    content[draw.draw(st.integers(0, len(content) - 1))] ^= draw.draw(st.integers(1, 255))

    with pytest.raises(ArtifactCorrupt):
        Manifest.from_bytes(bytes(content), digest=manifest.digest)


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/etc/passwd", "..", "../x", "a/../b", "a/./b", ".", "a//b", "a/", "a\\b", "..\\x", "C:x", "c:/x", "\\\\host\\x",
        "a\0b", "a\nb", "a\x1bb", "e\u0301", "\u202ex", "a\ud800", "x" * (MAX_PATH_BYTES + 1), "é" * 128, "/".join("a" * 18), "a./b",
        "a /b",
    ],
)  # fmt: skip
def test_a_path_that_could_be_another_file_somewhere_is_refused(path: str):
    with pytest.raises(InvalidInput) as caught:
        check_path(path)

    assert caught.value.reason == "BAD_MANIFEST"


@pytest.mark.parametrize("path", ["model.onnx", "version/model.onnx", "warmup/a b.raw", "é/ü.txt", ".hidden", "a..b", "/".join("a" * 17)])
def test_a_plain_path_is_taken(path: str):
    assert check_path(path) == path


@pytest.mark.parametrize(
    "entries",
    [
        [],
        ["a", "a"],
        ["Model.onnx", "model.ONNX"],
        ["straße", "STRASSE"],
        ["a", "a/b"],
        ["A/b", "a"],
        [f"f{number}" for number in range(MAX_FILES + 1)],
    ],
    ids=lambda entries: f"{len(entries)}-{'-'.join(entries[:2])}",
)
def test_paths_that_cannot_lie_side_by_side_are_refused(entries: list[str]):
    with pytest.raises(InvalidInput):
        Manifest.of([file(path) for path in entries])


@pytest.mark.parametrize("change", [{"size": -1}, {"size": 2**60}, {"sha256": "AB" * 32}, {"sha256": "../../etc"}, {"sha256": ""}])
def test_a_size_or_digest_that_is_none_is_refused(change: dict[str, object]):
    with pytest.raises(InvalidInput):
        ManifestFile(**{"path": "a", "size": 1, "sha256": DIGEST} | change)  # pyright: ignore[reportArgumentType]


def good() -> dict[str, object]:
    return json.loads(Manifest.of([file("a")]).to_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"files":[],"kind":"onnx","schema":1}',
        json.dumps(good() | {"schema": 2}).encode(),
        json.dumps(good() | {"more": 1}).encode(),
        json.dumps(good() | {"files": [{"path": "a", "size": True, "sha256": DIGEST}]}).encode(),
        json.dumps(good() | {"files": ["a"]}).encode(),
        json.dumps(good() | {"kind": "../x"}).encode(),
        "🙂".encode("utf-16"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_manifest_are_refused(content: bytes):
    with pytest.raises(InvalidInput) as caught:
        Manifest.from_bytes(content)

    assert caught.value.status.grpc is GrpcCode.INVALID_ARGUMENT


def test_a_manifest_in_another_form_than_the_canonical_one_is_corrupt():
    entry = good()
    entry["files"] = [one | {"extra": 1} for one in entry["files"]]  # type: ignore[union-attr]

    with pytest.raises(ArtifactCorrupt):
        Manifest.from_bytes(json.dumps(good()).encode())
    with pytest.raises(ArtifactCorrupt):
        Manifest.from_bytes(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode())
