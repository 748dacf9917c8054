"""Reads a document field by field; what is wrong is collected with its place, so that all of it is told at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import cast

from services.controller.deployment_checks import Problem

_QUANTITY = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?([KMGTP]i|[kMGTP])?", re.ASCII)
_BINARY = {f"{unit}i": 1 << (10 * power) for power, unit in enumerate("KMGTP", 1)}
_UNITS = {"": 1, **_BINARY, **{unit: 1000**power for power, unit in enumerate("kMGTP", 1)}}


class Fields:
    """An object of a document; every field that nobody asks for is a problem."""

    def __init__(self, pointer: str, value: object, problems: list[Problem]) -> None:
        """Keep where it stands; anything but an object is a problem, and reads as an empty one."""
        self.pointer = pointer
        self._problems = problems
        self._known: set[str] = set()
        self._held: Mapping[str, object] = {}
        if isinstance(value, dict):
            self._held = cast("dict[str, object]", value)
        elif value is not None:
            self.refuse("", "is no object")

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands in it."""
        return not self._held

    def refuse(self, name: str, problem: str) -> None:
        """Note a problem with a field, or with the whole object where the name is empty."""
        self._problems.append((self._at(name), problem))

    def has(self, name: str) -> bool:
        """Whether a field is there, though it may be null."""
        return name in self._held

    def take(self, name: str) -> object:
        """Return a field as it is; None when it is not there."""
        self._known.add(name)
        return self._held.get(name)

    def text(self, name: str, *, needed: bool = False) -> str:
        """Return a text, empty when there is none."""
        value = self.take(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.refuse(name, f"{value} is a number: write it in quotes")
        elif value is not None:
            self.refuse(name, "is no text")
        elif needed:
            self.refuse(name, "is missing")
        return ""

    def one_of(self, name: str, choices: Collection[str], default: str = "") -> str:
        """Return one of some words."""
        value = self.text(name) or default
        if value and value not in choices:
            self.refuse(name, f"{value[:80]!r} is none of {', '.join(choices)}")
            return default
        return value

    def whole(self, name: str) -> int | None:
        """Return a whole number."""
        value = self.take(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        self.refuse(name, f"{str(value)[:40]!r} is no whole number")
        return None

    def share(self, name: str) -> int | None:
        """Return a percentage with at most two decimals, in basis points."""
        value = self.take(name)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= 100
            or abs(value * 100 - round(value * 100)) > 1e-6
        ):
            self.refuse(name, f"{str(value)[:40]} is no percentage from 0 to 100 with at most two decimals")
            return None
        return round(value * 100)

    def quantity(self, name: str) -> int | None:
        """Return an amount of bytes, written as a number or like `512Mi` and `2G`."""
        value = self.take(name)
        if value is None:
            return None
        match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
        amount = 0 if match is None else _bytes(*match.groups(default=""))
        if amount < 1:
            self.refuse(name, f"{str(value)[:40]!r} is no amount of memory: write for example 512Mi or 2Gi")
            return None
        return amount

    def part(self, name: str) -> Fields:
        """Return an object in it; an empty one when there is none."""
        return Fields(self._at(name), self.take(name), self._problems)

    def parts(self, name: str) -> list[Fields]:
        """Return the objects of a list."""
        return [Fields(f"{self._at(name)}/{index}", value, self._problems) for index, value in enumerate(self._list(name))]

    def words(self, name: str) -> list[tuple[Fields, str]]:
        """Return the texts of a list, each with the place to refuse it at."""
        places = [(Fields(f"{self._at(name)}/{index}", None, self._problems), value) for index, value in enumerate(self._list(name))]
        for place, value in places:
            if not isinstance(value, str):
                place.refuse("", "is no text")
        return [(place, value) for place, value in places if isinstance(value, str)]

    def _list(self, name: str) -> list[object]:
        value = self.take(name)
        if value is not None and not isinstance(value, list):
            self.refuse(name, "is no list")
            return []
        return cast("list[object]", value or [])

    def texts(self, name: str, *, most: int) -> dict[str, str]:
        """Return an object whose values are texts."""
        inside = self.part(name)
        keys = list(inside.names())
        if len(keys) > most:
            self.refuse(name, f"has {len(keys)} entries, the limit is {most}")
            return {}
        return {key: inside.text(key, needed=True) for key in keys}

    def names(self) -> Iterator[str]:
        """Return the names of all fields."""
        return iter(self._held)

    def end(self, *, why: Mapping[str, str] | None = None) -> None:
        """Refuse every field that nobody asked for, by name; `why` says more of some."""
        for name in self._held:
            if name not in self._known:
                self.refuse(name, (why or {}).get(name) or "is not a field that can be honoured here")

    def _at(self, name: str) -> str:
        return f"{self.pointer}/{name.replace('~', '~0').replace('/', '~1')}" if name else self.pointer


def _bytes(whole: str, decimals: str, unit: str) -> int:
    factor = _UNITS[unit]
    return int(whole) * factor + (int(decimals) * factor // 10 ** len(decimals) if decimals else 0)
