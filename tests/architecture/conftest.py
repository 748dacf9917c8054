"""The source is read once for all tests here."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.architecture import source

HERE = Path(__file__).parent


def pytest_runtest_setup() -> None:
    """Leave out the collection of garbage here: trees of syntax are none, and looking for it costs twice what parsing does."""
    gc.disable()


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Collect again once the next test is another folder's; a folder without a package has no fixture that ends with it."""
    if nextitem is None or not nextitem.path.is_relative_to(HERE):
        source.forget()
        gc.enable()
