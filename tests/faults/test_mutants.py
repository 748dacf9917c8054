"""The harness fails when the product is broken: planted bugs are found, and nothing is found where nothing is planted."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.faults.mutants.bugs import BUGS
from tests.faults.mutants.plants import PLANTS
from tests.faults.mutation import found_by
from tests.faults.scenarios import SCENARIOS


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_replaces_exactly_one_text_and_leaves_python(name: str):
    plant = PLANTS[name]
    spec = importlib.util.find_spec(plant.module)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text()

    assert text.count(plant.old) == 1
    compile(text.replace(plant.old, plant.new), plant.module, "exec", dont_inherit=True)


def test_there_are_twenty_bugs_and_each_has_a_scenario():
    assert len({bug.plant.name for bug in BUGS}) == 20
    assert {bug.scenario for bug in BUGS} == set(SCENARIOS)


def test_a_planted_bug_is_found():
    assert found_by("burst", "swap-answers-of-a-chunk")


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_sound_product_is_not_accused(scenario: str):
    assert found_by(scenario) == []
