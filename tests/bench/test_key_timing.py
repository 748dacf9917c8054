"""The bench of key comparisons finds what it looks for, in times that are made up, and looks at the product's own comparisons."""

from __future__ import annotations

from itertools import takewhile
from random import Random

import numpy as np
import pytest

from bench.key_timing import BLOCK, PEPPER, RIGHT_CHARACTERS, Guesses, Timed, by_characters, by_controller, by_router, timed, welch_t
from penstock.contracts.api_keys import key_parts
from services.controller.key_making import hash_of, is_hash_of


class Work:
    """A clock that goes on by what a comparison does, and by noise."""

    def __init__(self, leak: int) -> None:
        self.now = 0
        self.random = Random(2)
        self.leak = leak

    def __call__(self) -> int:
        self.now += self.random.randrange(1000, 2000)
        return self.now

    def present(self, right: str, key: str) -> None:
        self.now += self.leak * common(right, key)


def common(right: str, key: str) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(right, key, strict=True))))


def t_of(leak: int) -> float:
    guesses, work = Guesses(Random(1)), Work(leak)
    return timed({"it": lambda key: work.present(guesses.right, key)}, guesses, 20 * BLOCK, work)["it"].t()


def test_welchs_t_is_that_of_the_books():
    # Means 2 and 5, variances 1 and 20/3: -3 / sqrt(1/3 + 20/3/4)
    assert welch_t(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0, 8.0])) == pytest.approx(-3 / 2**0.5)
    assert welch_t(np.ones(3), np.ones(3)) == 0.0


def test_a_comparison_that_takes_longer_the_more_is_right_is_found_and_an_even_one_is_not():
    assert t_of(leak=0) < 4.5 < t_of(leak=10)


def test_a_difference_is_found_beneath_what_interrupts_a_process():
    random = np.random.default_rng(3)
    is_nearly_right = random.random(100_000) < 0.5
    taken = random.normal(1000.0, 50.0, 100_000) + 5.0 * is_nearly_right
    taken[random.random(100_000) < 0.005] += 1e7

    assert Timed(nanoseconds=taken, is_nearly_right=is_nearly_right).t() > 4.5


def test_keys_of_one_class_are_right_but_for_the_end_and_those_of_the_other_from_the_beginning_on():
    guesses = Guesses(Random(4))
    keys, classes = guesses.block(2000)
    begins_at = guesses.right.index(guesses.secret)
    matching = {
        is_near: {common(guesses.right, key) - begins_at for key, it in zip(keys, classes, strict=True) if it is is_near}
        for is_near in (True, False)
    }

    assert matching[False] == {0}
    assert min(matching[True]) == RIGHT_CHARACTERS
    assert guesses.right not in keys
    assert {len(key) for key in keys} == {len(guesses.right)}
    assert all(key_parts(key) for key in keys)
    assert 800 < sum(classes) < 1200


@pytest.mark.parametrize("way", [by_router, by_controller])
def test_wrong_keys_are_refused_by_routers_and_controllers(way):
    guesses = Guesses(Random(5))
    present = way(guesses.right)

    assert not any(present(key) for key in guesses.block(100)[0])


def test_a_key_is_known_under_each_pepper_and_by_nothing_else():
    guesses = Guesses(Random(6))
    right = guesses.right

    assert is_hash_of(hash_of(right), right, (b"", PEPPER))
    assert is_hash_of(hash_of(right, PEPPER), right, (b"", PEPPER))
    assert not is_hash_of(hash_of(right, b"another"), right, (b"", PEPPER))
    assert not by_characters(right)(guesses.block(1)[0][0])
