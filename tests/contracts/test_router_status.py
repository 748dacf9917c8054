"""The wire form of routers' statuses, and what confirms a change."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import MalformedBody
from penstock.contracts.router_status import AppliedRoute, AskedVersion, KeyUse, RouterStatus

STATUS = RouterStatus(
    router_id="router-0",
    instance_id="r-1",
    revision=4,
    applied_sequence=17,
    applied=(AppliedRoute(model="m", revision=3, change_id="c"),),
    admin_address="unix:/run/a",
    draining=True,
    observed_time=1.5,
    asked=(AskedVersion(model="m", version="1", asked_time=1.25),),
    key_uses=(KeyUse(key_id="k", used_time=60.0),),
)


def test_a_status_keeps_everything_over_the_wire():
    assert RouterStatus.from_bytes(STATUS.to_bytes()) == STATUS


def test_bytes_that_are_no_status_are_refused():
    with pytest.raises(MalformedBody):
        RouterStatus.from_bytes(b"\xff")


@pytest.mark.parametrize(("sequence", "change_id", "applied"), [(17, "", True), (18, "", False), (0, "c", True), (0, "other", False)])
def test_a_change_is_confirmed_by_its_number_or_by_its_name(sequence: int, change_id: str, applied: bool):
    assert STATUS.has_applied(sequence, change_id) is applied
