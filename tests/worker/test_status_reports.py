"""Statuses go to the folder and to the bus, and are repeated on the bus."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from penstock.contracts.worker_status import WorkerStatus
from services.worker.status_reports import REPEAT_SECONDS, StatusReports
from tests.chassis.manual_clock import ManualClock

STATUS = WorkerStatus(worker_id="w", instance_id="i", link_address="unix:/l", revision=3)


class Place:
    def __init__(self) -> None:
        self.published: list[tuple[str, WorkerStatus | None]] = []
        self.is_full = False

    def publish(self, key: str, value: WorkerStatus | None) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.published.append((key, value))


async def pass_second(clock: ManualClock) -> None:
    """Let the time between two repetitions pass, and everything that happens then."""
    await clock.asleep()
    clock.advance(REPEAT_SECONDS)
    await clock.asleep()


async def test_a_status_is_in_both_places_at_once_and_stamped_on_the_bus():
    folder, bus = Place(), Place()
    reports = StatusReports(folder, bus, ManualClock(), lambda: 17.0)

    reports.publish("w", STATUS)
    reports.publish("w", None)

    assert folder.published == [("w", STATUS), ("w", None)]
    assert bus.published == [("w", replace(STATUS, observed_time=17.0)), ("w", None)]


async def test_a_full_disk_does_not_keep_a_status_from_the_bus():
    folder, bus = Place(), Place()
    folder.is_full = True

    with pytest.raises(OSError, match="No space"):
        StatusReports(folder, bus, ManualClock(), lambda: 17.0).publish("w", STATUS)

    assert len(bus.published) == 1


async def test_the_newest_status_is_repeated_until_it_is_withdrawn():
    times, folder, bus, clock = iter(range(100)), Place(), Place(), ManualClock()
    reports = StatusReports(folder, bus, clock, lambda: float(next(times)))
    task = asyncio.create_task(reports.run())
    await pass_second(clock)
    assert bus.published == []

    reports.publish("w", STATUS)
    for _ in range(3):
        await pass_second(clock)
    reports.publish("w", None)
    await pass_second(clock)
    task.cancel()

    assert [status and status.observed_time for _, status in bus.published] == [0.0, 1.0, 2.0, 3.0, None]
    assert len(folder.published) == 2
