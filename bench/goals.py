"""What the figures are held to. Pure: figures in, verdicts out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound of one figure."""

    figure: str
    least: float | None = None
    most: float | None = None
    note: str = ""

    def holds(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at least {self.least:,g}" if self.least is not None else f"at most {self.most:,g}"


QUIET = "on a quiet machine"
RATIOS = {"mosec": 1.2, "triton": 4.5, "mlserver": 30.0, "grpc_aio": 6.0}
LATE = {
    "overload.": "overload.late_share",
    "neighbours.p99": "neighbours.late_share",
    "lifecycle.hot_swap_p99": "lifecycle.hot_swap_late_share",
}
"""Shares of late calls, by the beginning of the figures that they spoil."""
LATE_LIMIT = 0.001
LEAST_TIMES_BEST = 2.5
"""What is offered must be so many times the best goodput: where capacity was measured too low, nothing was overloaded."""
GOALS = (
    Goal(figure="online.grpc.c64.requests_per_second", least=45_000, note=QUIET),
    Goal(figure="online.grpc.c256.requests_per_second", least=50_000, note=QUIET),
    *(Goal(figure=f"online.grpc.{place}.ratio_to.{peer}", least=least) for place in ("c64", "c256") for peer, least in RATIOS.items()),
    Goal(figure="online.grpc.c4.p50_ms", most=0.4),
    Goal(figure="online.http.json.c64.requests_per_second", least=15_000),
    Goal(figure="online.http.binary.c64.requests_per_second", least=20_000),
    Goal(figure="online.http.json.c64.ratio_to.mlserver", least=10),
    Goal(figure="online.http.binary.c64.ratio_to.mlserver", least=10),
    Goal(figure="online.tiny32.of_limit", least=0.85),
    Goal(figure="online.trees32.of_limit", least=0.85),
    Goal(figure="online.conv.of_limit", least=0.90),
    Goal(figure="online.minilm.of_limit", least=0.95),
    Goal(figure="router.added_p50_ms", most=0.3),
    Goal(figure="overload.goodput", least=0.95),
    Goal(figure="overload.shed_p50_ms", most=5.0),
    Goal(figure="overload.shed_p99_ms", most=5.0),
    Goal(figure="neighbours.answered_share", least=0.9995),
    Goal(figure="neighbours.p99_ratio", most=1.2),
    Goal(figure="lifecycle.cold_start_seconds", most=3.0),
    Goal(figure="lifecycle.hot_swap_failed", most=0),
    Goal(figure="lifecycle.hot_swap_p99_ratio", most=2.0),
    Goal(figure="rollback.p99_seconds", most=1.0),
    Goal(figure="rollback.failed_requests", most=0),
    Goal(figure="rollback.after_confirmation", most=0),
    Goal(figure="rollback.flip.after_confirmation", most=0),
    Goal(figure="rollback.wrong_answers", most=0),
    Goal(figure="rollback.unconfirmed", most=0),
    Goal(figure="static_stability.failed_requests", most=0),
    Goal(figure="static_stability.converge_seconds", most=10.0),
    Goal(figure="routes.replay_1000_seconds", most=3.0),
    Goal(figure="routes.lookup_growth", most=1.5, note="1,000 models to 10: the caches of a processor hold fewer of them"),
    Goal(figure="catalogue.write_p99_ms", most=50.0, note="1,000 models"),
    Goal(figure="catalogue.write_growth", most=1.25, note="1,000 models to 10"),
    Goal(figure="security.key_timing_t", most=4.5, note="of Welch, by dudect's rule"),
)


def verdicts(figures: Mapping[str, Figure]) -> list[str]:
    """Return a line a goal that was measured: whether it holds, the value with its range, and the bound."""
    lines: list[str] = []
    for goal in GOALS:
        figure = figures.get(goal.figure)
        if figure is not None:
            value = f"{figure.median:,.4g} [{min(figure.values):,.4g}..{max(figure.values):,.4g}]"
            note = (f", {goal.note}" if goal.note else "") + _disturbance(figures, goal.figure)
            lines.append(f"{'holds ' if goal.holds(figure.median) else 'MISSES'}  {goal.figure:42} {value:34} goal {goal.bound}{note}")
    lines.extend(_below_every_peer(figures))
    return lines


def _disturbance(figures: Mapping[str, Figure], name: str) -> str:
    """Say why a figure is void: calls of its open loop left late, or what was called an overload was none."""
    offered = figures.get("overload.times_best")
    if name.startswith("overload.") and offered is not None and offered.median < LEAST_TIMES_BEST:
        return f"; VOID, only {offered.median:.1f} times the best goodput was offered"
    late = next((figures[place] for prefix, place in LATE.items() if name.startswith(prefix) and place in figures), None)
    return f"; VOID, {late.median:.1%} of the calls left late" if late is not None and late.median > LATE_LIMIT else ""


def _below_every_peer(figures: Mapping[str, Figure]) -> list[str]:
    """Judge the goal that no single bound says: the median latency at 4 in flight is below that of every peer."""
    ours = figures.get("online.grpc.c4.p50_ms")
    theirs = {name: figure.median for name, figure in figures.items() if name.startswith("peers.") and name.endswith(".c4.p50_ms")}
    if ours is None or not theirs:
        return []
    best = min(theirs, key=lambda name: theirs[name])
    holds = "holds " if ours.median < theirs[best] else "MISSES"
    return [f"{holds}  {'online.grpc.c4.p50_ms':42} {ours.median:<34.4g} goal below every peer; best of them {theirs[best]:.4g} ({best})"]
