"""Models as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.cli import terminal
from penstock.cli.model_views import VersionEntry, VersionStatistics
from penstock.cli.table import table

NO_MODELS = "no models; put one into the repository folder as MODEL/VERSION/model.onnx"
NO_STATISTICS = "no statistics: no version is loaded"


def versions_table(entries: Sequence[VersionEntry]) -> str:
    """Return versions with their states."""
    if not entries:
        return NO_MODELS
    rows = [(entry.model, entry.version, entry.state, entry.reason) for entry in entries]
    return table(("model", "version", "state", "reason"), rows, width=terminal.width())


def statistics_table(found: Sequence[VersionStatistics]) -> str:
    """Return counts and mean times."""
    if not found:
        return NO_STATISTICS
    heads = ("model", "version", "ok", "failed", "rows", "runs", "rows/run", "total ms", "queue ms", "run ms", "cached")
    return table(heads, [_statistics_row(entry) for entry in found], width=terminal.width())


def _statistics_row(entry: VersionStatistics) -> tuple[object, ...]:
    steps = entry.steps
    return (
        entry.model,
        entry.version,
        steps["success"].count,
        steps["fail"].count,
        entry.rows,
        entry.executions,
        entry.mean_rows,
        steps["success"].mean_ms,
        steps["queue"].mean_ms,
        steps["compute_infer"].mean_ms,
        steps["cache_hit"].count,
    )
