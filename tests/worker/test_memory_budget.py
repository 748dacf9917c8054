"""Replicas never use more than the budget, and a refusal has the numbers."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import MemoryBudgetExceeded
from services.worker.memory_budget import SESSION_BYTES, MemoryBudget, estimated_bytes

MEBIBYTE = 1 << 20


def test_a_load_that_does_not_fit_is_refused_with_needed_used_and_budget():
    budget = MemoryBudget(budget_bytes=100 * MEBIBYTE)
    budget.reserve(1, "a@1", 70 * MEBIBYTE)

    with pytest.raises(MemoryBudgetExceeded, match=r"b@2 is expected to need 40\.0 MiB of memory; 70\.0 MiB of the budget of 100\.0 MiB"):
        budget.reserve(2, "b@2", 40 * MEBIBYTE)
    assert budget.used_bytes == 70 * MEBIBYTE


def test_what_was_measured_replaces_what_was_reserved():
    budget = MemoryBudget(budget_bytes=100 * MEBIBYTE)
    budget.reserve(1, "a@1", 70 * MEBIBYTE)
    budget.settle(1, "a@1", 20 * MEBIBYTE)

    budget.reserve(2, "b@2", 80 * MEBIBYTE)

    assert budget.used_bytes == 100 * MEBIBYTE


def test_a_load_that_turns_out_too_large_is_refused_and_gives_its_reservation_back():
    budget = MemoryBudget(budget_bytes=100 * MEBIBYTE)
    budget.reserve(1, "a@1", 10 * MEBIBYTE)

    with pytest.raises(MemoryBudgetExceeded, match=r"a@1 needs 101\.0 MiB"):
        budget.settle(1, "a@1", 101 * MEBIBYTE)
    assert budget.used_bytes == 0


def test_an_unload_makes_room():
    budget = MemoryBudget(budget_bytes=100)
    budget.reserve(1, "a@1", 100)
    budget.release(1)
    budget.release(1)

    budget.reserve(2, "b@1", 100)

    assert budget.used_bytes == 100


def test_without_a_budget_everything_fits_and_use_is_still_known():
    budget = MemoryBudget()
    budget.reserve(1, "a@1", 1 << 50)

    assert budget.used_bytes == 1 << 50


def test_the_estimate_grows_with_the_files():
    assert estimated_bytes(0) == SESSION_BYTES
    assert estimated_bytes(100 * MEBIBYTE) > 100 * MEBIBYTE + SESSION_BYTES
