"""The bench measures what it says: answers are compared, counts are compared, and a missing peer is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bench import plot, report
from bench.arena import Arena, Paddock
from bench.bodies import WrongAnswer
from bench.environments import PeerAbsent
from bench.figures import Figures
from bench.generators import Run
from bench.goals import GOALS, verdicts
from bench.model import build_repository, rows, session
from bench.race import GRPC, QUANTITIES, compare_counts, one_load
from bench.servers import Server, penstock_server
from bench.trees import CannotServe, Start, Tree, running

FIELDS = {"name", "value", "unit", "median", "low", "high", "n", "machine", "commit", "date", "command"}


@pytest.fixture
def arena(short_dir: Path) -> Arena:
    model = build_repository(short_dir / "models")
    (expected,) = session(model).run(None, {"x": rows()})
    return Arena(work=short_dir, model=model, expected=expected, rounds=1, seconds=0.3, is_plain=True, figures=Figures())


@contextmanager
def absent(error: Exception) -> Iterator[Server]:
    raise error
    yield


def test_one_load_on_a_real_serve_gives_the_four_figures_and_a_wrong_answer_stops_it(arena: Arena, tmp_path: Path):
    with Paddock(arena, {"penstock": partial(penstock_server, arena.work, is_plain=True)}, required=("penstock",)) as paddock:
        with paddock.turn("penstock") as server:
            assert server is not None
            one_load(arena, server, GRPC[0], 4)
            with pytest.raises(WrongAnswer, match="penstock"):
                server.check(rows(), arena.expected + 1)
        wrong = Paddock(replace(arena, expected=arena.expected + 1), {"penstock": lambda: lend(server)}, required=("penstock",))
        with pytest.raises(WrongAnswer), wrong, wrong.turn("penstock"):
            pass
    report.write(arena.figures, tmp_path / "latest.json")
    entries = json.loads((tmp_path / "latest.json").read_text())

    assert {entry["name"] for entry in entries} == {f"online.grpc.c4.{quantity}" for quantity in QUANTITIES}
    assert all(set(entry) == FIELDS for entry in entries)
    assert all(entry["low"] <= entry["median"] <= entry["high"] and entry["n"] == 1 for entry in entries)
    assert all(entry["value"] > 0 for entry in entries)


@contextmanager
def lend(server: Server) -> Iterator[Server]:
    yield server


class Counting(Server):
    """A server that says that it answered 1,000."""

    def answered(self) -> int:
        return 1_000


def counting(tree: Tree) -> Server:
    return Counting(name="one", tree=tree)


def test_a_count_that_differs_by_more_than_two_loads_in_flight_stops_the_run(tmp_path: Path):
    run = Run(requests=900, failed=0, seconds=1.0, p50_ms=1.0, p99_ms=1.0)
    with running(Start(name="one", command=["sleep", "60"], log=tmp_path / "log")) as tree:
        compare_counts(counting(tree), run, counted_before=92, in_flight=4)
        with pytest.raises(SystemExit, match="900 sent, 909 answered"):
            compare_counts(counting(tree), run, counted_before=91, in_flight=4)
        with pytest.raises(SystemExit, match="1 failed"):
            compare_counts(counting(tree), replace(run, failed=1), counted_before=100, in_flight=4)


@pytest.mark.parametrize("error", [PeerAbsent("not installed: no wheel"), CannotServe("it ended with code 1")])
def test_a_peer_that_cannot_take_part_is_named_with_its_reason(arena: Arena, tmp_path: Path, error: Exception):
    with Paddock(arena, {"mosec": partial(absent, error)}, required=()) as paddock:
        with paddock.turn("mosec") as server:
            assert server is None
        with paddock.turn("mosec") as again:
            assert again is None
    report.write(arena.figures, tmp_path / "latest.json")
    (entry,) = json.loads((tmp_path / "latest.json").read_text())

    assert (entry["name"], entry["reason"], entry["value"]) == ("peers.mosec", str(error), None)


def test_a_server_of_ours_that_cannot_start_stops_the_run(arena: Arena):
    paddock = Paddock(arena, {"penstock": partial(absent, CannotServe("it ended"))}, required=("penstock",))

    with pytest.raises(SystemExit, match="it ended"), paddock, paddock.turn("penstock"):
        pass


def test_a_tree_that_ends_early_says_its_last_words(tmp_path: Path):
    start = Start(name="one", command=["sh", "-c", "echo no such model; exit 3"], log=tmp_path / "log")

    with running(start) as tree, pytest.raises(CannotServe, match="code 3: no such model"):
        tree.wait_until(lambda: False)


def test_every_goal_is_judged_by_its_median_and_its_own_bound():
    figures = Figures()
    for value in (0.5, 0.3, 0.2):
        figures.add("router.added_p50_ms", value, "ms")
    figures.add("overload.goodput", 0.94, "share")

    held, missed = sorted(verdicts(figures.by_name))[::-1]
    assert held.startswith("holds   router.added_p50_ms")
    assert missed.startswith("MISSES  overload.goodput")


def test_a_verdict_on_an_open_loop_whose_calls_left_late_says_that_it_is_void():
    figures = Figures()
    figures.add("overload.goodput", 0.97, "share")
    figures.add("overload.late_share", 0.0005, "share")
    (quiet,) = verdicts(figures.by_name)
    figures.by_name["overload.late_share"].values[:] = [0.2]
    (busy,) = verdicts(figures.by_name)

    assert "VOID" not in quiet
    assert busy.endswith("VOID, 20.0% of the calls left late")


def test_a_verdict_on_an_overload_that_was_none_says_that_it_is_void():
    figures = Figures()
    figures.add("overload.goodput", 1.0, "share")
    figures.add("overload.times_best", 1.6, "ratio")

    assert verdicts(figures.by_name)[0].endswith("VOID, only 1.6 times the best goodput was offered")


def test_goals_have_one_bound_each():
    assert all((goal.least is None) != (goal.most is None) for goal in GOALS)


def test_the_plot_has_a_bar_for_each_server_that_was_measured():
    figures = Figures()
    figures.add("online.grpc.c64.requests_per_second", 50_000.0, "1/s")
    figures.add("peers.mosec.msgpack.c64.requests_per_second", 30_000.0, "1/s")

    drawn = plot.svg(figures.by_name, "a < b")

    assert drawn.count("<rect") == 1 + 2
    assert "a &lt; b" in drawn
    assert np.isclose(widths(drawn)[1] / widths(drawn)[0], 0.6, atol=0.01)


def widths(drawn: str) -> list[float]:
    return [float(line.split('width="')[1].split('"')[0]) for line in drawn.splitlines() if line.startswith("<rect x")]
