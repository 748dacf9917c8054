"""Callers of the demo: who answered, and what failed."""

from __future__ import annotations

import time

import numpy as np

from examples.callers import Callers
from tests.cli.far_server import FarServer


def test_callers_know_which_version_answered_and_what_failed():
    far = FarServer()
    try:
        with Callers(far.target, "doubling", np.ones((5, 3))) as callers:
            while callers.count < 20:
                time.sleep(0.01)
            share = callers.share_of("2", 0.5)
        with Callers(far.target, "nothing", np.ones((5, 3))) as refused:
            while not refused.failures:
                time.sleep(0.01)
    finally:
        far.stop()

    assert (share, callers.failures) == (1.0, [])
    assert callers.count > 0
    assert "MODEL_NOT_FOUND" in refused.failures[0]
