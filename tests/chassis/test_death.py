"""How a life ended is told from its status, from what the kernel counted meanwhile, and from what the supervisor did itself."""

from __future__ import annotations

import signal

import pytest

from services.chassis.death import Death, Exit, describe


def ended(status: int, *, kills: int = 0, killed_for: Death | None = None) -> Exit:
    return Exit(name="worker-0", process_id=1, status=status, lived_seconds=1.0, out_of_memory_kills=kills, killed_for=killed_for)


@pytest.mark.parametrize(
    ("one", "death", "cause"),
    [
        (ended(0), Death.ENDED, "exit code 0"),
        (ended(1), Death.CRASHED, "exit code 1"),
        (ended(9), Death.CRASHED, "exit code 9"),
        (ended(-signal.SIGSEGV), Death.CRASHED, "SIGSEGV"),
        (ended(-signal.SIGABRT), Death.CRASHED, "SIGABRT"),
        *((ended(-number), Death.KILLED, number.name) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)),
        (ended(-signal.SIGKILL, kills=1), Death.OUT_OF_MEMORY, "killed for lack of memory"),
        (ended(-signal.SIGSEGV, kills=1), Death.CRASHED, "SIGSEGV"),
        (ended(-signal.SIGTERM, kills=3), Death.KILLED, "SIGTERM"),
        (ended(0, kills=1), Death.ENDED, "exit code 0"),
        (ended(-signal.SIGKILL, killed_for=Death.HUNG), Death.HUNG, "hung: its event loop stood still"),
        (ended(-signal.SIGKILL, kills=1, killed_for=Death.STOPPED), Death.STOPPED, "stopped by somebody and not continued in time"),
    ],
)
def test_a_death_is_told_by_what_was_seen_of_it(one: Exit, death: Death, cause: str):
    assert (one.death, one.cause) == (death, cause)


def test_a_signal_without_a_name_is_told_by_its_number():
    assert describe(-99) == "signal 99"
