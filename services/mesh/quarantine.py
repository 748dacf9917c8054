"""Requests that a worker was executing when it crashed: one of them may have killed it, the others merely shared its batch.

Theory. Before each execution a worker writes into its black box which chunks it executes. When its link ends and the box says that it
died by its own fault, what it executed is suspect, and what only waited there is not. A suspect is sent once more, split into single
requests, and one at a time: so when the next worker crashes too, only one suspect can be what it was executing, and the one that was
there both times is the poison. It is refused with POISON_REQUEST; it has cost two workers and will cost no third. Company that a
suspect finds in its batch on the second worker is under its first suspicion, and gets a second try of its own.

What this cannot tell: two suspects of different routers, or of one that is in execution for another deployment at both moments, are
condemned together. A worker that was killed from outside (SIGKILL, also for lack of memory) or whose black box cannot be read, because
it lives on another machine, makes no suspects: its requests are sent once more together, and then refused with WORKER_LOST.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from penstock.contracts.errors import DeadlineExceeded, ExecutionFailed, ServingError, WorkerLost
from services.chassis.last_words import Casualties
from services.mesh.chunk import Chunk

DEADLY = 2
"""Workers that may crash of one request."""
TRIES = 2
"""Workers that a request is sent to when nothing is known about the end of the first."""


def unknown_casualties(_worker_id: str) -> Casualties | None:
    """Know nothing."""
    return None


def judge(chunk: Chunk, mark: int, lost: Casualties | None) -> tuple[int, ServingError]:
    """Return to how many workers a chunk of a lost worker may be sent in all, and what its callers are told when that is used up.

    `lost` is what the worker was executing when it crashed, `mark` names the chunk there; the death is written into the chunk.
    """
    error = WorkerLost("the worker went away before it answered; try again", retry_after_seconds=0.5)
    if lost is None:
        return TRIES, error
    if not lost.has(mark):
        return TRIES + 1, error  # it only waited there: that workers died is not its fault
    chunk.deaths += 1
    if chunk.deaths < DEADLY:
        return TRIES + 1, error
    return 0, _poisonous() if lost.is_complete else error


def _poisonous() -> ExecutionFailed:
    return ExecutionFailed(f"{DEADLY} workers crashed while they executed this request: it is not tried again", reason="POISON_REQUEST")


class Quarantine:
    """Sends suspects one at a time; used on the event loop."""

    def __init__(self, send: Callable[[Chunk], None], refuse: Callable[[Chunk, ServingError], None]) -> None:
        """Store the arguments; `send` places a chunk, `refuse` fails what is left of one."""
        self.waiting: deque[Chunk] = deque()
        self._send = send
        self._refuse = refuse
        self._out: Chunk | None = None

    def add(self, chunk: Chunk) -> None:
        """Take a chunk whose requests are suspect; they leave with the next `release`."""
        self.waiting += [chunk.part([position]) for position in chunk.open_positions()]

    def release(self, now: float) -> None:
        """Refuse who has waited past the deadline, and send the next one when the one before has ended; call it often."""
        if not self.waiting:
            return
        late = [chunk for chunk in self.waiting if chunk.left and chunk.earliest_deadline <= now]
        for chunk in late:
            self._refuse(chunk, DeadlineExceeded("the deadline passed while the request waited to be tried alone, after a worker crashed"))
        while self.waiting and (self._out is None or not self._out.left):
            chunk = self.waiting.popleft()
            if chunk.left:
                self._out = chunk
                self._send(chunk)
