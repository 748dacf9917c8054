"""Plants one bug after the other and sees whether its scenario finds it; without a bug no scenario may find anything."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.faults.campaign import fresh_world
from tests.faults.mutants.bugs import BUGS
from tests.faults.scenarios import SCENARIOS, tell


def found_by(scenario: str, *plants: str) -> list[str]:
    """Return what a scenario finds in a serve of its own with something planted; a serve that does not start is found out as well."""
    story = SCENARIOS[scenario]
    try:
        with fresh_world(plants=plants, models=story.models) as running:
            return asyncio.run(tell(story, running))
    except AssertionError as error:
        if not plants:
            raise
        return [f"the serve did not start or end as it should: {str(error).splitlines()[0][:200]}"]


def check_all(names: frozenset[str] | None = None) -> dict[str, Any]:
    """Return for every planted bug whether, and by what, it was found."""
    checked: dict[str, Any] = {}
    for bug in BUGS:
        if names is None or bug.plant.name in names:
            found = found_by(bug.scenario, bug.plant.name)
            checked[bug.plant.name] = {"scenario": bug.scenario, "found": bool(found), "by": found[0] if found else ""}
            print(f"{bug.plant.name}: {found[:2] or 'NOT FOUND'}", flush=True)
    return checked


if __name__ == "__main__":
    for given in sys.argv[1:]:
        print(given, found_by(given) if given in SCENARIOS else check_all(frozenset({given})), flush=True)
