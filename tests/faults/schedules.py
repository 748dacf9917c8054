"""Which faults strike when: drawn from a seed, kept as JSON, made smaller when they fail.

Pure. Every part of a schedule is drawn from a stream of its own, (seed, name) by SHA-256, so that a change to one part leaves the
others as they were; Python's own `hash` of text differs from process to process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from random import Random

WORKERS = ("worker-0", "worker-1")
CLIENT = "client"
UNLOADED_MODEL = "beta"


class FaultKind(StrEnum):
    """What may happen."""

    KILL = "kill"
    STOP = "stop"
    TERM = "term"
    SWAP = "swap"
    UNLOAD = "unload"
    BAD_VERSION = "bad_version"
    LATENCY = "latency"
    HANG = "hang"
    HANG_UP = "hang_up"
    RESET = "reset"
    SLICER = "slicer"
    LIMIT_DATA = "limit_data"
    BANDWIDTH = "bandwidth"
    FORGET = "forget"


ON_WORKERS = (FaultKind.KILL, FaultKind.STOP, FaultKind.TERM)
ON_MODELS = (FaultKind.SWAP, FaultKind.UNLOAD, FaultKind.BAD_VERSION)
ON_WIRES = tuple(kind for kind in FaultKind if kind not in (*ON_WORKERS, *ON_MODELS))
CUTS_CLIENT = frozenset({FaultKind.HANG, FaultKind.HANG_UP, FaultKind.RESET, FaultKind.LIMIT_DATA, FaultKind.BANDWIDTH})
CUTS_WORKER = CUTS_CLIENT | {*ON_WORKERS, FaultKind.FORGET}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault; seconds from the start of the safety phase."""

    at: float
    kind: FaultKind
    target: str
    """A worker, `client`, or a model."""
    seconds: float = 0.0
    """How long it holds, where it does not strike once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Faults over one load."""

    seed: int
    seconds: float
    rate: float
    faults: tuple[Fault, ...]

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Read a schedule."""
        fields = json.loads(text)
        faults = tuple(Fault(**{**fault, "kind": FaultKind(fault["kind"])}) for fault in fields.pop("faults"))
        return cls(**fields, faults=faults)


def stream(seed: int, name: str) -> Random:
    """Return the random numbers of one part of a schedule."""
    return Random(int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest(), "big"))


def draw(seed: int, seconds: float) -> Schedule:
    """Return the schedule of a seed: four in ten have one fault, four in ten two, the rest are storms of four to eight."""
    shape, kinds, targets, times = (stream(seed, name) for name in ("shape", "kinds", "targets", "times"))
    count = shape.choices((1, 2, shape.randint(4, 8)), (4, 4, 2))[0]
    faults: list[Fault] = []
    for _ in range(count):
        kind = kinds.choice(tuple(FaultKind))
        held = times.uniform(0.2, max(0.3, seconds / 2))
        at = times.uniform(0.1, seconds * 0.7)
        faults.append(Fault(at=round(at, 3), kind=kind, target=_target(kind, targets), seconds=round(min(held, seconds - at), 3)))
    rate = float(stream(seed, "load").choice((60, 100, 150)))
    return Schedule(seed=seed, seconds=seconds, rate=rate, faults=tuple(sorted(faults, key=lambda fault: fault.at)))


def _target(kind: FaultKind, targets: Random) -> str:
    worker, model, place = targets.choice(WORKERS), targets.choice(("alpha", "beta")), targets.random()
    if kind in ON_WORKERS:
        return worker
    if kind in ON_MODELS:
        return UNLOADED_MODEL if kind is FaultKind.UNLOAD else model
    # A client's connections are its own to replace.
    return worker if place < 0.75 or kind is FaultKind.FORGET else CLIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Excuses:
    """Which failures the faults of a schedule excuse."""

    reasons: frozenset[str]
    """For every model."""
    of_unloaded: frozenset[str]
    """For the model that is unloaded."""
    unknown: bool
    """Whether the way between client and router is cut, so that nobody may have answered."""


NOBODY = frozenset(
    {"UNAVAILABLE", "NO_READY_REPLICA", "WORKER_LOST", "REPLICA_GONE", "MODEL_LOADING", "DRAINING", "DEADLINE_EXCEEDED", "OVERLOADED"}
)
GONE = NOBODY | {"MODEL_NOT_FOUND", "VERSION_NOT_FOUND", "NOT_FOUND"}


def excuses(schedule: Schedule) -> Excuses:
    """Return what may fail: nothing while one worker is whole, whatever happens to the other."""
    hit = {fault.target for fault in schedule.faults if fault.kind in CUTS_WORKER and fault.target in WORKERS}
    slow = any(fault.kind is FaultKind.BANDWIDTH for fault in schedule.faults)
    is_unloaded = any(fault.kind is FaultKind.UNLOAD for fault in schedule.faults)
    return Excuses(
        reasons=NOBODY if len(hit) > 1 else frozenset({"DEADLINE_EXCEEDED", "OVERLOADED"}) if slow else frozenset(),
        of_unloaded=GONE if is_unloaded else frozenset(),
        unknown=any(fault.kind in CUTS_CLIENT and fault.target == CLIENT for fault in schedule.faults),
    )


def shrunk(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return the smallest schedule found that still fails: fewer faults (ddmin), then less load, then shorter faults.

    Source: A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing input", 2002.
    """
    faults = ddmin(schedule.faults, lambda kept: fails(_with(schedule, faults=tuple(kept))))
    smallest = _with(schedule, faults=tuple(faults))
    for change in ({"rate": smallest.rate / 2}, {"faults": tuple(_halved(fault) for fault in smallest.faults)}):
        tried = _with(smallest, **change)
        if fails(tried):
            smallest = tried
    return smallest


def ddmin(items: Sequence[Fault], fails: Callable[[Sequence[Fault]], bool]) -> list[Fault]:
    """Return a subset that fails and of which no single item can be left out."""
    kept, parts = list(items), 2
    while len(kept) >= 2:
        size = max(1, len(kept) // parts)
        pieces = [kept[at : at + size] for at in range(0, len(kept), size)]
        rests = [[one for other in pieces if other is not piece for one in other] for piece in pieces]
        smaller = next((candidate for candidate in (*pieces, *rests) if len(candidate) < len(kept) and fails(candidate)), None)
        if smaller is not None:
            kept, parts = smaller, 2
        elif size == 1:
            break
        else:
            parts = min(len(kept), parts * 2)
    return kept


def _halved(fault: Fault) -> Fault:
    return Fault(at=fault.at, kind=fault.kind, target=fault.target, seconds=fault.seconds / 2)


def _with(schedule: Schedule, **changes: object) -> Schedule:
    fields = {"seed": schedule.seed, "seconds": schedule.seconds, "rate": schedule.rate, "faults": schedule.faults}
    return Schedule(**{**fields, **changes})
