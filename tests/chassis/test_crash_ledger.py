"""Which version is given up after crashes."""

from __future__ import annotations

import signal

import pytest

from penstock.contracts.names import ModelVersion
from services.chassis.crash_ledger import Crash, CrashLedger, GivenUp
from services.chassis.death import Exit
from services.chassis.last_words import LastWords, Phase, Suspect
from services.embedded.crash_watch import crash_of

POISON = ModelVersion(model="digits", version="3")
BUSY = ModelVersion(model="digits", version="2")
OTHER = ModelVersion(model="trees", version="1")


def suspect(version: ModelVersion, phase: Phase = Phase.RUNNING, met: int = 1) -> Suspect:
    return Suspect(version=version, phase=phase, met=met)


def crash(*suspects: Suspect) -> Crash:
    return Crash(words=LastWords(suspects=suspects), cause="SIGSEGV")


def given_up(ledger: CrashLedger, *crashes: Crash, seconds_apart: float = 1.0) -> list[ModelVersion | None]:
    verdicts = [ledger.record(each, now=index * seconds_apart) for index, each in enumerate(crashes)]
    return [verdict.version if verdict else None for verdict in verdicts]


def test_the_third_crash_within_a_minute_is_one_too_many():
    assert given_up(CrashLedger(), *[crash(suspect(POISON))] * 3) == [None, None, POISON]


def test_crashes_further_apart_than_the_window_are_forgiven():
    assert given_up(CrashLedger(), *[crash(suspect(POISON))] * 6, seconds_apart=31.0) == [None] * 6


def test_the_reason_says_how_often_when_and_how():
    ledger = CrashLedger()
    verdicts = [ledger.record(crash(suspect(POISON, Phase.LOADING)), now=0.0) for _ in range(3)]

    assert verdicts[2] == GivenUp(version=POISON, reason="3 workers crashed within 60 s while it was loaded; last: SIGSEGV")


def test_crashes_of_different_versions_do_not_add_up():
    assert (
        given_up(CrashLedger(), crash(suspect(POISON)), crash(suspect(OTHER)), crash(suspect(BUSY)), crash(suspect(POISON))) == [None] * 4
    )


def test_a_version_that_was_once_alone_outweighs_one_that_is_always_there():
    together = crash(suspect(BUSY, met=9), suspect(POISON, met=1))

    assert given_up(CrashLedger(), crash(suspect(POISON)), together, together) == [None, None, POISON]


def test_of_equal_suspects_the_one_being_loaded_is_given_up():
    together = crash(suspect(BUSY, met=9), suspect(POISON, Phase.WARMING, met=1))

    assert given_up(CrashLedger(), together, together, together)[2] == POISON


def test_of_equal_suspects_the_newest_is_given_up():
    together = crash(suspect(BUSY, met=1), suspect(POISON, met=2))

    assert given_up(CrashLedger(), together, together, together)[2] == POISON


def test_after_a_wrong_choice_the_next_one_follows():
    together = crash(suspect(POISON, met=1), suspect(BUSY, met=2))

    assert given_up(CrashLedger(), *[together] * 3, *[crash(suspect(POISON))] * 3) == [None, None, BUSY, None, None, POISON]


def test_a_verdict_of_the_process_itself_spares_its_neighbours():
    words = LastWords(suspects=(suspect(BUSY), suspect(POISON)), verdict=POISON, reason="ignored terminate")
    ledger = CrashLedger()
    verdicts = [ledger.record(Crash(words=words, cause="ignored terminate"), now=0.0) for _ in range(3)]

    assert verdicts[2] is not None
    assert verdicts[2].version == POISON
    assert "ignored terminate" in verdicts[2].reason
    assert ledger.record(crash(suspect(BUSY)), now=1.0) is None


def ended(status: int, out_of_memory_kills: int = 0) -> Exit:
    return Exit(name="worker-0", process_id=1, status=status, lived_seconds=1.0, out_of_memory_kills=out_of_memory_kills)


WORDS = LastWords(suspects=(suspect(POISON),))


@pytest.mark.parametrize("status", [-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, 1, 134, 9])
def test_a_crash_is_the_versions_doing(status: int):
    assert crash_of(ended(status), WORDS) is not None


@pytest.mark.parametrize("status", [0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT])
def test_what_was_asked_for_from_outside_is_nobodys_doing(status: int):
    assert crash_of(ended(status), WORDS) is None


def test_a_kill_for_lack_of_memory_is_the_versions_doing():
    killed = crash_of(ended(-signal.SIGKILL, out_of_memory_kills=1), WORDS)

    assert killed is not None
    assert killed.cause == "killed for lack of memory"


def test_a_process_that_ends_itself_for_a_version_counts_however_it_ends():
    words = LastWords(verdict=POISON, reason="ignored terminate")

    assert crash_of(ended(-signal.SIGKILL), words) == Crash(words=words, cause="ignored terminate")
