"""Figures by name: every value of every round, summed up as median and range."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class Figure:
    """One measured quantity."""

    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The value to quote."""
        return median(self.values)


class Figures:
    """All figures of a run, and what is missing in it."""

    def __init__(self) -> None:
        """Start empty."""
        self.by_name: dict[str, Figure] = {}
        self.left_out: dict[str, str] = {}
        """Reasons, by the name of what could not be measured."""

    def add(self, name: str, value: float, unit: str) -> None:
        """Note one round's value."""
        self.by_name.setdefault(name, Figure(unit)).values.append(value)

    def ratio(self, name: str, over: str, under: str) -> None:
        """Note the ratio of two figures, round by round; nothing when one of them was not measured."""
        if over in self.by_name and under in self.by_name:
            for top, bottom in zip(self.by_name[over].values, self.by_name[under].values, strict=True):
                self.add(name, top / bottom, "ratio")

    def leave_out(self, name: str, reason: str) -> None:
        """Note that something could not be measured, and why."""
        self.left_out[name] = reason
