"""Figures that rows measure on their way; they decide nothing, and are kept only where `make faults` asks for them."""

from __future__ import annotations

import json
import os
from pathlib import Path

VARIABLE = "PENSTOCK_FAULTS_FIGURES"


def record(row: str, **values: float) -> None:
    """Keep the figures of a row."""
    path = os.environ.get(VARIABLE)
    if path:
        with Path(path).open("a") as file:
            file.write(json.dumps({"row": row, **{name: round(value, 3) for name, value in values.items()}}) + "\n")


def read(path: Path) -> dict[str, dict[str, float]]:
    """Return the figures by row; the last of a row counts."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line.pop("row"): line for line in lines}
