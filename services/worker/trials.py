"""Whose turn it is to load a version that nobody has had ready yet: one worker of a serve at a time, so that the others go on serving.

A version may kill whoever loads it. If all workers load it at the same moment nobody is left for the other models. So there is one
turn in the state folder, and a version is *proven* once any worker had it READY: proven versions are loaded by everybody at once.

    trials/turn           flock: held while a version is tried. Content: the worker that tries; emptied when the trial is over
    trials/begun          there is one from when the first worker has loaded what there was: before it nobody serves, nothing can be
                          spared, and all workers load at the same time
    trials/<digest>       the version of this content and configuration was READY once

A worker that dies takes its flock along but not its name. The next in line sees the name and waits: it must not try before the dead
one is back, or both would be away. So the same worker tries until it succeeds, fails, or the version is given up (three deaths). Only
when it has not touched the turn for TAKE_OVER_SECONDS, because it does not come back, somebody else may.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from services.worker.reconciliation import Offer

LOOK_SECONDS = 0.05
TAKE_OVER_SECONDS = 60.0
"""Longer than the longest pause before a worker is started again, and the start."""

log = structlog.get_logger(__name__)


class Trials:
    """The turn, as one worker sees it."""

    def __init__(self, folder: Path, worker_id: str) -> None:
        """Store the arguments; the folder is shared with the other workers of the serve."""
        self._folder = folder
        self._turn = folder / "turn"
        self._begun = folder / "begun"
        self._worker_id = worker_id
        self._trying = asyncio.Lock()
        self._may_hold_name = True

    @asynccontextmanager
    async def turn(self, offer: Offer, *, is_suspect: bool) -> AsyncGenerator[None]:
        """Wait until the version may be loaded here; a version that killed its loader (`is_suspect`) is never loaded by all at once."""
        proof = self._proof(offer)
        async with AsyncExitStack() as stack:
            if not _is_there(proof) and (is_suspect or _is_there(self._begun)):
                await self._enter(stack, offer, proof)
            yield

    def prove(self, offer: Offer) -> None:
        """Note that the version is READY here."""
        with _tolerated():
            self._proof(offer).touch()

    def rest(self) -> None:
        """Note that this worker has loaded what there was: it waits for nothing, and owes nobody the end of a trial."""
        if self._may_hold_name and not self._trying.locked():
            self._may_hold_name = False
            with _tolerated():
                self._begun.touch()
                self._give_up_name()

    async def _enter(self, stack: AsyncExitStack, offer: Offer, proof: Path) -> None:
        await stack.enter_async_context(self._trying)
        with _tolerated():
            descriptor = await self._taken(proof)
            if descriptor is not None:
                stack.callback(_leave, descriptor)
                log.info("version_tried", model=offer.artefact.model, version=offer.artefact.version)
                return
        await stack.aclose()  # proven meanwhile: no reason to keep others of this worker waiting

    async def _taken(self, proof: Path) -> int | None:
        """Return the descriptor that holds the turn; None when the version was proven meanwhile."""
        while not _is_there(proof):
            descriptor = self._try_take()
            if descriptor is not None:
                return descriptor
            await asyncio.sleep(LOOK_SECONDS)
        return None

    def _try_take(self) -> int | None:
        descriptor = os.open(self._turn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock(descriptor) or not self._is_mine(descriptor):
            os.close(descriptor)
            return None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, self._worker_id.encode(), 0)
        self._may_hold_name = True
        return descriptor

    def _is_mine(self, descriptor: int) -> bool:
        owner = os.pread(descriptor, 256, 0).decode(errors="replace")
        if owner in {"", self._worker_id}:
            return True
        is_late = time.time() - os.fstat(descriptor).st_mtime > TAKE_OVER_SECONDS
        if is_late:
            log.warning("trial_taken_over", former=owner)
        return is_late

    def _give_up_name(self) -> None:
        """Clear the name of a trial that this worker's former life did not survive, and that nobody wants any more."""
        descriptor = os.open(self._turn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _lock(descriptor) and os.pread(descriptor, 256, 0).decode(errors="replace") == self._worker_id:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _proof(self, offer: Offer) -> Path:
        content = repr((offer.artefact, offer.config_json, offer.settings_json)).encode()
        return self._folder / hashlib.sha256(content).hexdigest()[:32]


def _is_there(path: Path) -> bool:
    return path.exists()


def _leave(descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextmanager
def _tolerated() -> Generator[None]:
    """Go on without the turn where the folder cannot be used (a full disk): a load that is not guarded is better than none."""
    try:
        yield
    except OSError as error:
        log.warning("trials_unusable", reason=error.strerror)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
