"""Bugs that the harness has to find."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.mutants.plant import Plant


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A planted bug and the cheapest scenario that should find it."""

    plant: Plant
    scenario: str


BUGS: tuple[Bug, ...] = ()
