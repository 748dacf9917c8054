"""What every row checks when it is over."""

from __future__ import annotations

from tests.faults import invariants as inv
from tests.faults.ledger import Ledger
from tests.faults.oracle import expected
from tests.faults.world import World


def held_true(running: World, ledger: Ledger, *, may_be_unknown: bool = False) -> None:
    """Check what must be true of every ledger: one answer each, the right one, from a version that was ready, errors as agreed."""
    entries = ledger.entries()
    assert entries
    assert inv.one_terminal_answer(entries, may_be_unknown=may_be_unknown) == []
    assert inv.right_answer(entries, expected) == []
    assert inv.readiness_truth(entries, running.readiness()) == []
    assert inv.error_contract(entries) == []
