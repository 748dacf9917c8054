"""What was asked for and is nowhere: told on, bounded, and believed to be coming only for a while."""

from __future__ import annotations

from penstock.contracts.router_status import REMEMBERED_VERSIONS
from services.mesh.asked_versions import COMING_SECONDS, FRESH_SECONDS, LEFT_LIMIT, AskedVersions


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.news = 0
        self.asked = AskedVersions(lambda: self.now)
        self.asked.on_news(self.hear)

    def hear(self) -> None:
        self.news += 1

    def told(self) -> list[tuple[str, str, float]]:
        return [(one.model, one.version, one.asked_time) for one in self.asked.newest()]


def test_what_was_here_is_coming_and_is_news_once():
    clock = Clock()
    clock.asked.left("m", "1")

    assert clock.asked.missed("m", "1")
    clock.now += 1
    assert clock.asked.missed("m", "1")
    assert clock.news == 1
    assert clock.told() == [("m", "1", 1_001.0)]


def test_what_never_was_here_is_told_on_but_promised_to_nobody():
    clock = Clock()

    assert not clock.asked.missed("m", "1")
    assert clock.told() == [("m", "1", 1_000.0)]


def test_what_does_not_come_is_not_there():
    clock = Clock()
    clock.asked.left("m", "1")
    promised = []
    for _ in range(4):
        promised.append(clock.asked.missed("m", "1"))
        clock.now += COMING_SECONDS / 2

    assert promised == [True, True, False, False]


def test_what_came_back_is_missed_no_more_until_it_leaves_again():
    clock = Clock()
    clock.asked.left("m", "1")
    clock.asked.missed("m", "1")
    clock.asked.came("m", "1")
    assert clock.told() == []

    for _ in range(3):
        clock.asked.used("m", "1")
        clock.now += COMING_SECONDS / 2
    clock.asked.left("m", "1")
    assert clock.asked.missed("m", "1")
    assert clock.news == 2


def test_what_nobody_asks_for_any_more_is_told_no_more():
    clock = Clock()
    clock.asked.missed("m", "1")
    clock.now += FRESH_SECONDS + 1

    assert clock.told() == []


def test_names_made_up_by_the_thousand_cost_a_bounded_room():
    clock = Clock()
    for number in range(2 * LEFT_LIMIT):
        clock.asked.left("m", str(number))
        clock.asked.missed("m", str(number))

    assert len(clock.told()) == REMEMBERED_VERSIONS
    assert clock.told()[-1][1] == str(2 * LEFT_LIMIT - 1)
    assert not clock.asked.missed("m", "0")
