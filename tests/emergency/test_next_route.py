from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.errors import Conflict, NotFound
from penstock.contracts.route_records import RouteRecord, supersedes
from penstock.contracts.routes import WHOLE, Backend, FallbackKind, FallbackStep, KillSwitch, Route, Shadow, single
from services.emergency.next_route import check_answering, doubts, given_back, given_to, newest

HELD = Route(
    model="fraud",
    revision=7,
    writer_epoch=3,
    sequence=40,
    backends=(Backend(version="1", weight_basis_points=9000, attempts=2), Backend(version="2", weight_basis_points=1000)),
    shadow=Shadow(version="1", sample_basis_points=100),
    fallback=(FallbackStep(kind=FallbackKind.VERSION, version="1"), FallbackStep(kind=FallbackKind.CACHED)),
    pins={"acme": "2"},
    aliases={"champion": "1"},
)


@pytest.mark.parametrize("asked", ["1", "champion"])
def test_everything_goes_to_the_version_and_the_rest_stays(asked: str):
    made = given_to(HELD, asked, change_id="c", now=5.0)

    assert made.backends == (Backend(version="1", weight_basis_points=WHOLE, attempts=2),)
    assert (made.revision, made.sequence, made.change_id, made.changed_time) == (8, 0, "c", 5.0)
    assert (made.shadow, [step.kind for step in made.fallback], made.pins) == (None, [FallbackKind.CACHED], {"acme": "2"})
    assert supersedes(RouteRecord(route=made, break_glass=True), RouteRecord(route=HELD))


def test_a_version_that_had_no_traffic_can_have_it():
    assert given_to(HELD, "9", change_id="c", now=0.0).weight("9") == WHOLE


def test_of_several_words_the_newest_counts():
    records = [RouteRecord(route=single("fraud", "1", revision=revision)) for revision in (2, 5, 3)]

    assert newest([*records, RouteRecord(route=single("iris", "1", revision=9))], "fraud").revision == 5


def test_a_model_without_a_route_is_said():
    with pytest.raises(NotFound):
        newest([RouteRecord(route=None), RouteRecord(route=single("iris", "1"))], "fraud")


def test_without_a_version_the_shares_of_before_come_back_and_once_more_takes_that_back():
    split = replace(HELD, previous=(Backend(version="1", weight_basis_points=WHOLE),))

    back = given_back(split, change_id="c", now=5.0)
    forth = given_back(back, change_id="d", now=6.0)

    assert (back.backends, back.previous, back.shadow) == (split.previous, HELD.backends, None)
    assert (forth.backends, forth.previous, forth.revision) == (HELD.backends, split.previous, 9)


def test_a_route_that_says_of_nobody_before_is_refused():
    with pytest.raises(Conflict) as refused:
        given_back(HELD, change_id="c", now=5.0)

    assert refused.value.reason == "ROLLBACK_TARGET"


def test_a_route_to_nothing_but_killed_versions_is_refused():
    killed = replace(HELD, kill_switches=(KillSwitch(version="1"), KillSwitch(version="2", tenant="acme")))

    with pytest.raises(Conflict, match="version '1' of 'fraud' is killed") as refusal:
        check_answering(given_to(killed, "champion", change_id="c", now=0.0))

    assert refusal.value.reason == "ROLLBACK_TARGET"
    check_answering(given_to(killed, "2", change_id="c", now=0.0))
    check_answering(killed)


def test_what_the_route_in_force_can_tell_against_the_next_one_is_told():
    held = replace(HELD, frozen=True, kill_switches=(KillSwitch(version="1"),), previous=(Backend(version="0", weight_basis_points=WHOLE),))

    assert doubts(held, held) == (
        "model 'fraud' is frozen and answers nobody",
        "version '1' is killed and answers nobody; others get its share",
    )
    assert doubts(HELD, given_to(HELD, "champion", change_id="c", now=0.0)) == ()
    assert doubts(held, given_to(held, "0", change_id="c", now=0.0)) == ("model 'fraud' is frozen and answers nobody",)
    [strange] = doubts(HELD, given_to(HELD, "9", change_id="c", now=0.0))
    assert strange == "the route in force does not name version '9': whether a worker holds it is not known here"
