"""What a dead process was doing."""

from __future__ import annotations

import signal
import timeit
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.names import ModelVersion
from services.chassis.blackbox import Blackbox, LastWords, Phase, crash_file, read_blackbox, read_casualties
from services.chassis.last_words import mark_of
from tests.chassis.children import script

DIGITS_1 = ModelVersion(model="digits", version="1")
DIGITS_2 = ModelVersion(model="digits", version="2")
LONGEST = ModelVersion(model="m" * 255, version="v" * 255)


@pytest.fixture
def box(tmp_path: Path) -> Blackbox:
    return Blackbox.open(tmp_path / "box", slots=4, names=3)


def test_versions_in_a_slot_are_suspects_with_the_newest_last(tmp_path: Path, box: Blackbox):
    newer, older = box.register(LONGEST), box.register(DIGITS_1)
    box.slot(1).enter(Phase.RUNNING, older)
    box.slot(0).enter(Phase.LOADING, newer)
    box.slot(2).enter(Phase.RUNNING, older)

    words = read_blackbox(tmp_path / "box")

    assert [(suspect.version, suspect.phase) for suspect in words.suspects] == [(LONGEST, Phase.LOADING), (DIGITS_1, Phase.RUNNING)]
    assert words.verdict is None


def test_who_has_left_is_no_suspect(tmp_path: Path, box: Blackbox):
    slot = box.slot(1)
    slot.enter(Phase.RUNNING, box.register(DIGITS_1))
    slot.leave()

    assert read_blackbox(tmp_path / "box") == LastWords()


def test_a_version_keeps_its_ordinal_until_it_is_released(box: Blackbox):
    first = box.register(DIGITS_1)

    assert box.register(DIGITS_1) == first
    box.register(DIGITS_2)
    box.register(LONGEST)
    with pytest.raises(RuntimeError, match="at most 3 versions"):
        box.register(ModelVersion(model="one", version="more"))
    box.release(DIGITS_1)
    assert box.register(ModelVersion(model="one", version="more")) == first


def test_a_version_met_again_counts_as_newest(tmp_path: Path, box: Blackbox):
    box.slot(1).enter(Phase.RUNNING, box.register(DIGITS_1))
    box.register(DIGITS_2)
    box.release(DIGITS_2)
    box.slot(2).enter(Phase.RUNNING, box.register(DIGITS_2))

    assert [suspect.version for suspect in read_blackbox(tmp_path / "box").suspects] == [DIGITS_1, DIGITS_2]


def test_a_process_that_ends_itself_says_for_whom(tmp_path: Path, box: Blackbox):
    box.blame(box.register(DIGITS_2), "run ignored terminate for 1 s " + "x" * 300)

    words = read_blackbox(tmp_path / "box")

    assert words.verdict == DIGITS_2
    assert words.reason.startswith("run ignored terminate for 1 s")


def test_entering_costs_less_than_a_microsecond(box: Blackbox):
    slot = box.slot(1)
    ordinal = box.register(DIGITS_1)

    best = min(timeit.repeat(lambda: slot.enter(Phase.RUNNING, ordinal), number=10_000, repeat=20)) / 10_000

    assert best < 1e-6


def test_a_missing_slot_is_an_error(box: Blackbox):
    for index in (-1, 4):
        with pytest.raises(IndexError):
            box.slot(index)


def test_opening_again_forgets_the_former_life(tmp_path: Path, box: Blackbox):
    box.slot(0).enter(Phase.LOADING, box.register(DIGITS_1))
    box.close()

    Blackbox.open(tmp_path / "box", slots=4, names=3)

    assert read_blackbox(tmp_path / "box") == LastWords()


def test_a_process_killed_in_the_middle_leaves_its_words(tmp_path: Path):
    dying = f"""
from pathlib import Path
import signal
from penstock.contracts.names import ModelVersion
from services.chassis.blackbox import *
box = Blackbox.open(Path({str(tmp_path / "box")!r}))
box.slot(0).enter(Phase.WARMING, box.register(ModelVersion(model="digits", version="2")))
print("in", flush=True)
signal.pause()
"""
    with script(dying) as process:
        assert process.line() == "in"
        process.signal(signal.SIGKILL)
        process.wait()

    [suspect] = read_blackbox(tmp_path / "box").suspects
    assert (suspect.version, suspect.phase) == (DIGITS_2, Phase.WARMING)


def test_no_file_says_nothing(tmp_path: Path):
    assert read_blackbox(tmp_path / "none") == LastWords()


@given(st.data())
def test_a_damaged_file_is_read_without_failing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    path = tmp_path_factory.mktemp("damaged") / "box"
    box = Blackbox.open(path, slots=2, names=2)
    box.slot(0).enter(Phase.LOADING, box.register(DIGITS_1))
    box.close()
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])

    assert isinstance(read_blackbox(path), LastWords)


def crashed(path: Path, *batches: list[int], slots: int = 8) -> None:
    """Write the box of a process that executed these chunks when it died by its own fault."""
    box = Blackbox.open(path, slots=slots, names=4)
    for index, marks in enumerate(batches, 1):
        box.slot(index).mark(marks)
        box.slot(index).enter(Phase.RUNNING, 1)
    box.close()
    crash_file(path).write_bytes(b"Fatal Python error: Floating point exception")


def test_the_chunks_in_execution_are_read_after_a_crash(tmp_path: Path):
    crashed(tmp_path / "w", [mark_of(7, 1), mark_of(7, 2)], [mark_of(8, 1)])

    found = read_casualties(tmp_path / "w")

    assert found is not None
    assert found.marks == {mark_of(7, 1), mark_of(7, 2), mark_of(8, 1)}
    assert found.has(mark_of(7, 2))
    assert not found.has(mark_of(8, 2))


def test_what_was_executed_before_and_is_over_is_no_casualty(tmp_path: Path):
    box = Blackbox.open(tmp_path / "w", slots=4, names=4)
    slot = box.slot(1)
    slot.mark([1, 2, 3])
    slot.enter(Phase.RUNNING, 1)
    slot.mark([4])
    slot.enter(Phase.RUNNING, 1)
    box.slot(2).mark([5])
    crash_file(tmp_path / "w").write_bytes(b"x")

    found = read_casualties(tmp_path / "w")
    box.close()

    assert found is not None
    assert found.marks == {4}


def test_a_batch_of_too_many_chunks_leaves_none_beyond_suspicion(tmp_path: Path):
    crashed(tmp_path / "w", list(range(1, 200)))

    found = read_casualties(tmp_path / "w")

    assert found is not None
    assert not found.is_complete
    assert found.has(12345)


def test_a_process_that_somebody_else_killed_has_no_casualties(tmp_path: Path):
    crashed(tmp_path / "w", [1])
    crash_file(tmp_path / "w").write_bytes(b"")

    assert read_casualties(tmp_path / "w") is None
    assert read_casualties(tmp_path / "nowhere") is None


def test_a_process_that_ended_itself_because_of_an_execution_has_casualties(tmp_path: Path):
    box = Blackbox.open(tmp_path / "w", slots=4, names=4)
    ordinal = box.register(ModelVersion(model="m", version="1"))
    box.slot(1).mark([9])
    box.slot(1).enter(Phase.RUNNING, ordinal)
    box.blame(ordinal, "stuck")
    box.close()
    crash_file(tmp_path / "w").touch()

    found = read_casualties(tmp_path / "w")

    assert found is not None
    assert found.marks == {9}
