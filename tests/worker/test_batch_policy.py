"""What a batch policy makes of the level that a request asks for."""

from __future__ import annotations

import pytest

from services.worker.batch_policy import BatchPolicy


@pytest.mark.parametrize(
    ("wanted", "levels", "level", "claim"),
    [
        (0, 3, 2, "who asks for none has the default"),
        (1, 3, 1, "the first goes first"),
        (3, 3, 3, "the last goes last"),
        (4, 3, 3, "more than there are, from a router that knew of more, is the last"),
        (2**63, 3, 3, "however much more"),
    ],
)
def test_a_level_that_a_model_does_not_have_is_its_last(wanted: int, levels: int, level: int, claim: str):
    assert BatchPolicy(max_batch_size=1, priority_levels=levels, default_priority_level=2).level_of(wanted) == level, claim


def test_a_model_without_levels_takes_every_level_for_its_one():
    assert BatchPolicy(max_batch_size=1).level_of(7) == 1
