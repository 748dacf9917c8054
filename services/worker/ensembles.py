"""Triton's ensembles as files: a config.pbtxt that says so, beside version folders that may be empty. Blocks on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from penstock.contracts.ensembles import ENSEMBLE_FILE, LARGEST_BYTES, says_ensemble
from services.worker.artefacts import FileMark


def ensemble_text(folder: Path, files: Iterable[FileMark]) -> str | None:
    """Return the configuration of a model's folder that is an ensemble; None for every other folder, or when it cannot be read.

    Args:
        folder: the model's.
        files: those that were found in it, those beside the versions included.
    """
    mark = next((mark for mark in files if mark.path == ENSEMBLE_FILE), None)
    return None if mark is None or mark.size > LARGEST_BYTES else _read(folder, mark)


@lru_cache(maxsize=256)
def _read(folder: Path, mark: FileMark) -> str | None:
    """Read a file once for each of its contents: empty folders beside it are looked at again and again."""
    try:
        text = (folder / mark.path).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if says_ensemble(text) else None
