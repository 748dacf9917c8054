"""How long a crashed child stays down."""

from __future__ import annotations

import random

from services.chassis.restart_delays import RestartDelays, RestartPolicy


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_longest_delay_doubles_up_to_the_limit():
    delays = RestartDelays(RestartPolicy(), Longest())

    assert [delays.after(1.0) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_healthy_life_forgives_former_crashes():
    delays = RestartDelays(RestartPolicy(), Longest())
    for _ in range(5):
        delays.after(1.0)

    assert delays.after(60.0) == 0.2


def test_delays_are_spread_over_the_whole_range():
    delays = [RestartDelays(RestartPolicy(), random.Random(seed)).after(1.0) for seed in range(200)]

    assert min(delays) < 0.02
    assert max(delays) > 0.18


def test_thousands_of_crashes_do_not_overflow():
    delays = RestartDelays(RestartPolicy(), Longest())

    assert [delays.after(0.0) for _ in range(5000)][-1] == 10.0
