"""Schedules come from their seed alone, survive JSON, and shrink to what is to blame."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from tests.faults.schedules import Fault, FaultKind, Schedule, ddmin, draw, excuses, shrunk, stream


def fault(kind: FaultKind, target: str = "worker-0", at: float = 1.0) -> Fault:
    return Fault(at=at, kind=kind, target=target, seconds=1.0)


def schedule(*faults: Fault) -> Schedule:
    return Schedule(seed=1, seconds=3.0, rate=100.0, faults=faults)


def test_a_seed_gives_the_same_schedule_in_every_process():
    code = "from tests.faults.schedules import draw; print(draw(7, 3.0).to_json())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=".").stdout.strip()

    assert other == draw(7, 3.0).to_json()
    assert draw(7, 3.0) != draw(8, 3.0)


def test_streams_do_not_share_their_numbers():
    assert stream(1, "a").random() != stream(1, "b").random()
    assert stream(1, "a").random() == stream(1, "a").random()


def test_a_schedule_reads_back_as_it_was_written():
    for seed in range(50):
        assert Schedule.from_json(draw(seed, 3.0).to_json()) == draw(seed, 3.0)


def test_all_kinds_of_faults_and_all_sizes_are_drawn():
    drawn = [draw(seed, 3.0) for seed in range(300)]

    assert {one.kind for each in drawn for one in each.faults} == set(FaultKind)
    assert {len(each.faults) for each in drawn} == {1, 2, 4, 5, 6, 7, 8}
    assert all(one.at >= 0 and one.at + one.seconds <= 3.001 for each in drawn for one in each.faults)


def test_a_fault_on_one_worker_excuses_nothing_and_on_both_only_typed_absence():
    one = excuses(schedule(fault(FaultKind.KILL), fault(FaultKind.HANG)))
    both = excuses(schedule(fault(FaultKind.KILL), fault(FaultKind.HANG, "worker-1")))

    assert (one.reasons, one.unknown) == (frozenset(), False)
    assert "WORKER_LOST" in both.reasons
    assert "INTERNAL" not in both.reasons


def test_a_cut_client_excuses_silence_and_a_slow_one_does_not():
    assert excuses(schedule(fault(FaultKind.RESET, "client"))).unknown
    assert not excuses(schedule(fault(FaultKind.LATENCY, "client"))).unknown


def test_an_unload_excuses_its_model_only():
    allowed = excuses(schedule(fault(FaultKind.UNLOAD, "beta")))

    assert allowed.reasons == frozenset()
    assert "MODEL_NOT_FOUND" in allowed.of_unloaded


def test_shrinking_leaves_the_two_faults_that_fail_together():
    guilty = {fault(FaultKind.KILL, at=0.3), fault(FaultKind.SWAP, "alpha", at=0.7)}
    others = [fault(FaultKind.LATENCY, at=number / 10) for number in range(6)]
    tries: list[int] = []

    def fails(kept: Sequence[Fault]) -> bool:
        tries.append(len(kept))
        return guilty <= set(kept)

    assert set(ddmin([*others[:3], *guilty, *others[3:]], fails)) == guilty
    assert len(tries) < 60


def test_shrinking_also_lessens_load_and_times_where_it_still_fails():
    smallest = shrunk(schedule(fault(FaultKind.KILL), fault(FaultKind.SWAP, "alpha")), lambda tried: fault(FaultKind.KILL) in tried.faults)

    assert smallest.faults == (fault(FaultKind.KILL),)
    assert smallest.rate == 50.0
