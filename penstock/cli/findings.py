"""What `penstock doctor` finds: a verdict, the facts, and the line that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from penstock.cli.model_views import Document


class Verdict(Enum):
    """How grave a finding is; the value is what is printed."""

    OK = "ok"
    NOTE = "note"
    """Nothing wrong; worth knowing."""
    WARNING = "warn"
    """Works, and something is worse than it has to be."""
    BROKEN = "BROKEN"
    """Does not work until it is mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Verdict
    found: str
    fix: str = ""
    """A command to run, or what to change."""

    def document(self) -> Document:
        """Return it for printing."""
        return {"check": self.check, "verdict": self.verdict.value, "found": self.found, "fix": self.fix or None}


def fine(check: str, found: str) -> Finding:
    """Return a finding that nothing is wrong."""
    return Finding(check=check, verdict=Verdict.OK, found=found)


def note(check: str, found: str, fix: str = "") -> Finding:
    """Return something worth knowing."""
    return Finding(check=check, verdict=Verdict.NOTE, found=found, fix=fix)


def warning(check: str, found: str, fix: str) -> Finding:
    """Return something that works worse than it has to."""
    return Finding(check=check, verdict=Verdict.WARNING, found=found, fix=fix)


def broken(check: str, found: str, fix: str) -> Finding:
    """Return something that does not work."""
    return Finding(check=check, verdict=Verdict.BROKEN, found=found, fix=fix)
