"""The source is read once for all tests here."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.architecture import source


@pytest.fixture(scope="package", autouse=True)
def _read_once() -> Iterator[None]:
    """Leave out the collection of garbage meanwhile: trees of syntax are none, and looking for it costs twice what parsing does."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        source.forget()
