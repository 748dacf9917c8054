"""Callers of the demo: who answered, and what failed."""

from __future__ import annotations

import numpy as np

from examples.callers import Callers
from tests.cli.far_server import FarServer


def test_callers_know_which_version_answered_and_what_failed():
    far = FarServer()
    try:
        with Callers(far.target, "doubling", np.ones((5, 3))) as callers:
            share = callers.share_of("2", 0.2)
        with Callers(far.target, "nothing", np.ones((5, 3))) as refused:
            refused.share_of("1", 0.1)
    finally:
        far.stop()

    assert (share, callers.failures) == (1.0, [])
    assert callers.count > 0
    assert refused.failures
    assert "MODEL_NOT_FOUND" in refused.failures[0]
