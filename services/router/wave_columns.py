"""Cutting and joining waves, column by column."""

from __future__ import annotations

from typing import TypeVar

from services.router.front import Wave

T = TypeVar("T")


def cut(wave: Wave, limit: int) -> Wave:
    """Shorten a wave to its first `limit` calls and return the rest; a cancellation never comes before its call."""
    rest = Wave(
        call_ids=_tail(wave.call_ids, limit),
        payloads=_tail(wave.payloads, limit),
        keys=_tail(wave.keys, limit),
        deadlines=_tail(wave.deadlines, limit),
        traces=_tail(wave.traces, limit),
    )
    if wave.affinities:
        rest.affinities = {call_id: wave.affinities.pop(call_id) for call_id in rest.call_ids if call_id in wave.affinities}
    if wave.cancelled:
        later = set(rest.call_ids)
        rest.cancelled = [call_id for call_id in wave.cancelled if call_id in later]
        wave.cancelled = [call_id for call_id in wave.cancelled if call_id not in later]
    return rest


def join(wave: Wave, later: Wave) -> None:
    """Append a later wave's calls and cancellations."""
    wave.call_ids += later.call_ids
    wave.payloads += later.payloads
    wave.keys += later.keys
    wave.deadlines += later.deadlines
    wave.traces += later.traces
    wave.affinities.update(later.affinities)
    wave.cancelled += later.cancelled


def _tail(column: list[T], limit: int) -> list[T]:
    rest = column[limit:]
    del column[limit:]
    return rest
