"""Unpacks an archive into staging, whatever kind its first bytes say it is. Blocks; called in threads."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from typing import BinaryIO

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, RequestTooLarge
from services.controller.registration_values import Archive
from services.controller.staging import Staged
from services.controller.tar_members import unpack_tar
from services.controller.zip_members import unpack_zip


def stage_archive(source: Archive, into: Staged) -> None:
    """Stage an archive's files.

    Raises:
        InvalidInput: it is not as long as was said, broken, or holds what is refused.
        ArtifactCorrupt: it has another digest than was said.
        RequestTooLarge: too many files or bytes.
    """
    with source.path.open("rb") as archive:
        size = archive.seek(0, 2)
        archive.seek(0)
        if source.size is not None and size != source.size:
            raise InvalidInput(f"{size} bytes came, but {source.size} were said", reason="BAD_UPLOAD", field="size_bytes")
        if size > into.limits.total_bytes:
            raise RequestTooLarge(f"the archive has {size} bytes, more than {into.limits.total_bytes}", reason="ARTEFACT_TOO_LARGE")
        if source.sha256 is not None and hashlib.file_digest(archive, "sha256").hexdigest() != source.sha256:
            raise ArtifactCorrupt("what came is not what its digest says: send it again")
        archive.seek(0)
        first = archive.read(4)
        archive.seek(0)
        into.expect_archive(size)
        if first.startswith(b"PK"):
            unpack_zip(archive, into, most_entries=into.limits.files)
        elif first.startswith(b"\x1f\x8b"):
            _unpack_gzip(archive, into)
        else:
            unpack_tar(archive, into)


def _unpack_gzip(archive: BinaryIO, into: Staged) -> None:
    try:
        with gzip.open(archive, "rb") as opened:
            unpack_tar(opened, into)  # pyright: ignore[reportArgumentType]  a GzipFile reads like a file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput("archive: it is cut or damaged: send it again", reason="BAD_ARCHIVE", field="source") from error
