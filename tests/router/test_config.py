"""What a router's settings refuse before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.router.config import RouterSettings


@pytest.mark.parametrize("name", ["http_head_timeout_seconds", "http_body_timeout_seconds"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 3601, "soon"])
def test_a_time_out_that_never_or_always_strikes_is_refused(name: str, value: object, tmp_path: Path):
    with pytest.raises(ValidationError, match=name):
        RouterSettings.model_validate({"state_dir": tmp_path, name: value})


def test_headers_have_10_seconds_and_bodies_30_unless_told_otherwise(tmp_path: Path):
    settings = RouterSettings(state_dir=tmp_path)

    assert (settings.http_head_timeout_seconds, settings.http_body_timeout_seconds) == (10.0, 30.0)
