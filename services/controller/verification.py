"""Looks again and again whether the store holds versions as they were registered: every byte is read and hashed, at a gentle rate.

    registered, or looked at, long ago  →  read and hashed  →  sound, or damaged: said, audited, not deployed again

All registered versions are looked at, so those that are live and those that a rollback goes to are among them. The time of the last look
is in the catalogue: a restart begins no month anew. A damaged version is looked at again every hour, so that one which was restored counts
as sound soon. Workers that hold it go on: they have checked their own copy by the same digest.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from penstock.contracts.errors import ArtifactCorrupt, NotFound, ServingError, Unavailable
from services.chassis.artefact_store import Target
from services.chassis.clock import Clock
from services.chassis.metrics import CounterFamily, GaugeFamily
from services.controller.changes import Changes, Command, Intent, Made, Writing
from services.controller.model_values import Version

DAMAGED_SECONDS = 3600.0
"""How long after a look a damaged version is looked at again."""
MOST_AT_ONCE = 100
"""Most versions that one look asks the catalogue for."""
INTENT = Intent(actor="controller", why="its files were read again and compared with its digest")

log = structlog.get_logger(__name__)


class CheckedStore(Protocol):
    """Reads versions whole; `services.chassis.artefact_store.ArtefactStore` is one."""

    async def read_whole(self, digest: str, target: Target) -> None:
        """Write all files of a version to a target, checked."""
        ...


class Paced:
    """A target that keeps nothing and takes so many bytes a second."""

    def __init__(self, clock: Clock, bytes_per_second: float) -> None:
        """Store the arguments."""
        self._clock = clock
        self._bytes_per_second = bytes_per_second

    async def write(self, chunk: bytes) -> None:
        """Wait as long as the bytes are worth."""
        await self._clock.sleep(len(chunk) / self._bytes_per_second)

    async def restart(self) -> None:
        """Nothing was kept."""


class Verification:
    """Compares what the store holds with what was registered."""

    def __init__(self, changes: Changes, store: CheckedStore, pace: Target) -> None:
        """Keep the arguments; `pace` takes all bytes that are read."""
        self._changes = changes
        self._store = store
        self._pace = pace

    async def due(self, interval_seconds: float) -> tuple[Version, ...]:
        """Return versions that were not looked at for so long, the oldest look first."""
        async with self._changes.reading() as unit:
            again = min(interval_seconds, DAMAGED_SECONDS)
            return await unit.versions.unchecked(unit.time - interval_seconds, unit.time - again, MOST_AT_ONCE)

    async def damaged(self) -> tuple[Version, ...]:
        """Return the registered versions that are known to be damaged."""
        async with self._changes.reading() as unit:
            return await unit.versions.damaged()

    async def verify(self, version: Version, intent: Intent = INTENT) -> str:
        """Read a version's files, write down what was found for all versions of that digest, and return what is wrong; empty when sound.

        Raises:
            Unavailable: the store does not answer, which says nothing of what it holds; or this process is not the writer.
        """
        damage = await self._damage(version.digest)
        async with self._changes.reading() as unit:
            alike = await unit.versions.with_digest(version.digest)
        for one in alike:
            await self._note(one, damage, intent)
        return damage

    async def _damage(self, digest: str) -> str:
        try:
            await self._store.read_whole(digest, self._pace)
        except ArtifactCorrupt as error:
            return f"damaged: {error.message}"
        except NotFound as error:
            return f"lost: {error.message}"
        return ""

    async def _note(self, version: Version, damage: str, intent: Intent) -> None:
        async def work(writing: Writing) -> Made[str]:
            await writing.unit.versions.set_checked(version.model, version.version, writing.time, damage)
            return Made(value=damage, before=version.damage, after=damage)

        subject = f"model/{version.model}/version/{version.version}"
        await self._changes.make(intent, Command(action="version.verify", answer=str, subject=subject, is_emergency=True), work)
        if damage:
            log.error("artefact_damaged", model=version.model, version=version.version, digest=version.digest[:12], reason=damage)
        elif version.damage:
            log.info("artefact_restored", model=version.model, version=version.version, digest=version.digest[:12])


class VerificationLoop:
    """Verifies by itself what is due, while this process is the writer; a collector of its own metrics."""

    def __init__(self, verification: Verification, interval_seconds: float) -> None:
        """Keep the arguments."""
        self._verification = verification
        self._interval_seconds = interval_seconds
        self.checks = CounterFamily("penstock_artefact_checks", "Versions whose files were read again, by what was found.", ("outcome",))
        self.damaged = GaugeFamily(
            "penstock_artefacts_damaged", "Registered versions that the store does not hold as they were registered."
        )

    async def look(self) -> None:
        """Verify what is due, one after the other."""
        done: set[str] = set()
        try:
            for version in await self._verification.due(self._interval_seconds):
                if version.digest not in done:
                    done.add(version.digest)
                    await self._verify(version)
            self.damaged.of().value = len(await self._verification.damaged())
        except ServingError as error:
            log.warning("artefacts_not_verified", reason=error.message, code=error.reason)

    async def _verify(self, version: Version) -> None:
        try:
            damage = await self._verification.verify(version)
        except Unavailable as error:
            self.checks.of("unavailable").value += 1
            log.warning("artefact_not_verified", model=version.model, version=version.version, reason=error.message)
            return
        self.checks.of("damaged" if damage else "sound").value += 1
