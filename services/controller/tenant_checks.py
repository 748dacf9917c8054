"""Refuses settings of tenants that no router could keep. Pure: settings in, problems out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

from penstock.contracts.errors import InvalidInput
from penstock.contracts.names import check_model_name
from services.controller.deployment_checks import Problem

LIMITS = frozenset({"requests_per_second", "rows_per_second", "burst_seconds", "max_rows_in_flight"})
ROLES = frozenset({"operator", "viewer", "registrar"})
LISTS = frozenset({"models", "model_prefixes", "roles"})
MOST_PATTERNS = 1_000


def settings_problems(settings: Mapping[str, object]) -> tuple[Problem, ...]:
    """Return all that is wrong with settings in the vocabulary of the tenants file."""
    found = [(f"/settings/{name}", problem) for name, value in settings.items() if (problem := _problem(name, value))]
    if not found and "registrar" in cast("Sequence[str]", settings.get("roles", ())) and not settings.get("model_prefixes"):
        found.append(("/settings/roles", "registrar needs model_prefixes: the starts of the names of models that may be registered"))
    return tuple(found)


def _problem(name: str, value: object) -> str:
    if name in LIMITS:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if is_number and math.isfinite(cast("float", value)) and cast("float", value) > 0 else "must be a number above 0"
    if name == "admin":
        return "" if isinstance(value, bool) else "must be true or false"
    if name in LISTS:
        return _list_problem(name, value)
    return f"is not known; known are {', '.join(sorted(LIMITS | LISTS | {'admin'}))}"


def _list_problem(name: str, value: object) -> str:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in cast("list[object]", value)):
        return "must be a list of names"
    if len(cast("list[object]", value)) > MOST_PATTERNS:
        return f"has more than {MOST_PATTERNS} entries"
    if name == "model_prefixes" and (strange := [one for one in cast("list[str]", value) if not _begins_a_name(one)]):
        return f"{strange[0][:80]!r} begins no model's name"
    if name == "roles" and (unknown := set(cast("list[str]", value)) - ROLES):
        return f"{min(unknown)!r} is no role; roles are {', '.join(sorted(ROLES))}"
    return ""


def _begins_a_name(text: str) -> bool:
    try:
        check_model_name(text)
    except InvalidInput:
        return False
    return True
