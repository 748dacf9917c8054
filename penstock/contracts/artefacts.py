"""A version's files as one immutable unit, addressed by the digest of their manifest.

    version/model.onnx           the version's own folder
    version/weights.bin, …       what belongs to it: external data, tokenizer.json, golden.json, a model.toml of its own
    model.toml | config.pbtxt    beside the versions: how the model is run
    labels.txt, warmup/x.raw     what the configuration names

A manifest says nothing about who registered it, when, or under which name: the same files have the same digest, so that registering
them again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput

VERSION_FOLDER = "version"
"""Name, in a manifest, of the folder with the version's own files."""

SCHEMA = 1
"""Number of the form that `Manifest.to_bytes` writes."""

MAX_FILES = 10_000
MAX_FOLDERS = 16
"""Deepest file: so many folders above it."""
MAX_PATH_BYTES = 255
MAX_TOTAL_BYTES = 20 << 30
MAX_MANIFEST_BYTES = 8 << 20
"""Largest manifest that is read."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One file of a version."""

    path: str
    """Relative, with `/`."""
    size: int
    """In bytes."""
    sha256: str
    """Of the content, in lower-case hexadecimal."""

    def __post_init__(self) -> None:
        """Refuse what is no file inside a version."""
        check_path(self.path)
        if not 0 <= self.size <= MAX_TOTAL_BYTES:
            raise _bad(f"{self.path}: a size of {self.size} bytes is not within 0 and {MAX_TOTAL_BYTES}")
        check_digest(self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All files of a version, sorted by path."""

    files: tuple[ManifestFile, ...]
    kind: str = "onnx"
    """What the files are, for whoever loads them."""

    def __post_init__(self) -> None:
        """Refuse what is no version: none or too many files, paths that are one file somewhere, a file that is a folder as well."""
        if not _KIND.fullmatch(self.kind):
            raise _bad(f"the kind {self.kind[:40]!r} is not valid")
        check_paths(one.path for one in self.files)
        if [one.path for one in self.files] != sorted(one.path for one in self.files):
            raise _bad("its files are not sorted by path")
        if self.total_bytes > MAX_TOTAL_BYTES:
            raise _bad(f"its files have {self.total_bytes} bytes, more than the limit of {MAX_TOTAL_BYTES}")

    @classmethod
    def of(cls, files: Iterable[ManifestFile], *, kind: str = "onnx") -> Manifest:
        """Return the manifest of files in any order."""
        return cls(files=tuple(sorted(files, key=lambda one: one.path)), kind=kind)

    @classmethod
    def from_bytes(cls, content: bytes, *, digest: str | None = None) -> Manifest:
        """Read what `to_bytes` has written.

        Args:
            content: all bytes.
            digest: the address under which they were found.

        Raises:
            ArtifactCorrupt: they are not the bytes of that digest, or not canonical.
            InvalidInput: they describe no version.
        """
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise ArtifactCorrupt(f"the manifest of {digest[:12]} is not what its digest says")
        if len(content) > MAX_MANIFEST_BYTES:
            raise _bad(f"it has {len(content)} bytes, more than the limit of {MAX_MANIFEST_BYTES}")
        manifest = _parsed(content)
        if manifest.to_bytes() != content:
            raise ArtifactCorrupt("the manifest is not written in its canonical form")
        return manifest

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)

    @property
    def digest(self) -> str:
        """The address of the version: SHA-256 of the canonical bytes, in hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the canonical form: JSON in ASCII, keys sorted, no spaces."""
        files = [{"path": one.path, "sha256": one.sha256, "size": one.size} for one in self.files]
        content = {"files": files, "kind": self.kind, "schema": SCHEMA}
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")

    def file(self, path: str) -> ManifestFile | None:
        """Return the file of that path."""
        return next((one for one in self.files if one.path == path), None)


def check_digest(digest: str) -> str:
    """Return a digest when it is one; what names a blob or a version becomes part of a path.

    Raises:
        InvalidInput: not 64 lower-case hexadecimal digits.
    """
    if not _SHA256.fullmatch(digest):
        raise InvalidInput(
            f"{digest[:80]!r} is no SHA-256 digest: send 64 lower-case hexadecimal digits", reason="BAD_VALUE", field="digest"
        )
    return digest


def configured_digest(digest: str, settings: str = "") -> str:
    """Return what stands for a version as it is run: its digest, or another one where settings of its own are replaced."""
    return hashlib.sha256(f"{digest}\0{settings}".encode()).hexdigest() if settings else digest


def check_path(path: str) -> str:
    """Return a path when it names the same file inside a folder wherever it is read.

    Raises:
        InvalidInput: empty, absolute, with `.`, `..`, a backslash or a drive, not in Unicode's NFC form, with characters that are not
            printable, too long or too deep.
    """
    parts = path.split("/")
    if not path or any(part in {"", ".", ".."} for part in parts) or "\\" in path or _DRIVE.match(path):
        raise _bad(f"{path[:80]!r} is not a relative path inside the version's folder")
    if not path.isprintable() or not unicodedata.is_normalized("NFC", path):
        raise _bad(f"{path[:80]!r} has characters that are not printable, or not in Unicode's NFC form")
    if len(path.encode(errors="surrogatepass")) > MAX_PATH_BYTES:
        raise _bad(f"the path {path[:40]!r}… is longer than {MAX_PATH_BYTES} bytes")
    if len(parts) > MAX_FOLDERS + 1:
        raise _bad(f"{path[:80]!r} lies deeper than {MAX_FOLDERS} folders")
    if any(part.endswith((" ", ".")) for part in parts):
        raise _bad(f"{path[:80]!r} has a name that ends with a space or a dot, which not every file system keeps")
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Refuse paths that cannot lie side by side.

    Raises:
        InvalidInput: none or too many; two that differ by case or Unicode form only; one that is a folder of another.
    """
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for path in paths:
        check_path(path)
        folded = unicodedata.normalize("NFC", path.casefold())
        if folded in seen:
            raise _bad(f"{seen[folded][:80]!r} and {path[:80]!r} are one file on many file systems")
        if len(seen) >= MAX_FILES:
            raise _bad(f"more than {MAX_FILES} files")
        seen[folded] = path
        folders.update(folded[:index] for index, character in enumerate(folded) if character == "/")
    if not seen:
        raise _bad("there are no files in it")
    if both := folders & seen.keys():
        raise _bad(f"{min(both)[:80]!r} is a file and a folder")


def _parsed(content: bytes) -> Manifest:
    try:
        tree = cast("object", json.loads(content))
    except (ValueError, RecursionError) as error:
        raise _bad("it is no JSON") from error
    match tree:
        case {"schema": 1, "kind": str(kind), "files": list(files)} if len(cast("Mapping[str, object]", tree)) == 3:
            return Manifest(files=tuple(_file(one) for one in cast("list[object]", files)), kind=kind)
        case _:
            raise _bad(f"it is not of the form of schema {SCHEMA}")


def _file(entry: object) -> ManifestFile:
    match entry:
        case {"path": str(path), "size": int(size), "sha256": str(sha256)} if not isinstance(size, bool):
            return ManifestFile(path=path, size=size, sha256=sha256)
        case _:
            raise _bad("a file in it has not exactly a path, a size and a sha256")


def _bad(message: str) -> InvalidInput:
    return InvalidInput(f"manifest: {message}", reason="BAD_MANIFEST", field="manifest")
