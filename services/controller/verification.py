"""Looks whether the store holds versions as they were registered: by itself again and again, at a gentle rate, and when somebody asks.

    registered, or looked at, long ago  →  read and hashed  →  sound, or damaged: said, audited, not deployed again

All registered versions are looked at, so those that are live and those that a rollback goes to are among them. The time of the last look
is in the catalogue: a restart begins no month anew. A damaged version is looked at again every hour, so that one which was restored counts
as sound soon. Workers that hold it go on: they have checked their own copy by the same digest.

A kept signature is checked again as well, by the keys that are known now. One that is not its key's is damage; one of a key that is not
known any more says nothing, so that taking a key away keeps nobody from rolling back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.errors import ArtifactCorrupt, NotFound, ServingError, Unavailable
from services.chassis.artefact_store import Target
from services.chassis.clock import Clock
from services.chassis.metrics import CounterFamily, GaugeFamily
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing
from services.controller.model_values import Version
from services.controller.version_signing import SignatureState, SigningPolicy

DAMAGED_SECONDS = 3600.0
"""How long after a look a damaged version is looked at again."""
MOST_AT_ONCE = 100
"""Most versions that one look asks the catalogue for."""
INTENT = Intent(actor="controller", why="its files were read again and compared with its digest")

log = structlog.get_logger(__name__)


class CheckedStore(Protocol):
    """Reads versions file by file; `services.chassis.artefact_store.ArtefactStore` is one."""

    async def manifest(self, digest: str) -> Manifest:
        """Return what a version is."""
        ...

    async def fetch(self, file: ManifestFile, target: Target) -> None:
        """Write a file's content to a target, checked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Touchstones:
    """What versions are checked against."""

    store: CheckedStore
    signing: SigningPolicy = field(default_factory=SigningPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFinding:
    """What was found of one file."""

    file: ManifestFile
    damage: str = ""
    """Empty when it is as it was registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found of one version."""

    files: tuple[FileFinding, ...]
    """Empty when the store has lost their list."""
    signature: SignatureState
    damage: str
    """All that is wrong; empty when nothing is."""
    noted: Outcome[str]
    """What the catalogue took down of it."""


class Unpaced:
    """A target that keeps nothing and takes bytes as fast as they come."""

    async def write(self, chunk: bytes) -> None:
        """Keep nothing."""

    async def restart(self) -> None:
        """Forget nothing."""


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

    def __init__(self, changes: Changes, touchstones: Touchstones, pace: Target) -> None:
        """Keep the arguments; `pace` takes all bytes that are read."""
        self._changes = changes
        self._store = touchstones.store
        self._signing = touchstones.signing
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

    async def verify(self, version: Version, intent: Intent = INTENT) -> Findings:
        """Read a version's files, write down what was found for all versions of that digest, and return what was found of this one.

        Raises:
            Unavailable: the store does not answer, which says nothing of what it holds; or this process is not the writer.
        """
        await self._changes.check_writer()
        files, lost = await self._files(version.digest)
        harm = "; ".join(filter(None, (lost, _in_short(files))))
        own = await self._noted(version, harm, intent)
        async with self._changes.reading() as unit:
            alike = await unit.versions.with_digest(version.digest)
        for one in alike:
            if (one.model, one.version) != (version.model, version.version):
                await self._noted(one, harm, intent)
        return Findings(files=files, signature=self._signature(version), damage=own.value, noted=own)

    async def _files(self, digest: str) -> tuple[tuple[FileFinding, ...], str]:
        """Return what was found of the files, and what is wrong with their list."""
        try:
            manifest = await self._store.manifest(digest)
        except (ArtifactCorrupt, NotFound) as error:
            return (), _harm(error)
        harms = {one.sha256: await self._file(one) for one in {one.sha256: one for one in manifest.files}.values()}
        return tuple(FileFinding(file=one, damage=harms[one.sha256]) for one in manifest.files), ""

    async def _file(self, file: ManifestFile) -> str:
        try:
            await self._store.fetch(file, self._pace)
        except (ArtifactCorrupt, NotFound) as error:
            return _harm(error)
        return ""

    def _signature(self, version: Version) -> SignatureState:
        return self._signing.state(version.model, version.digest, version.version_signature, version.signed_by)

    async def _noted(self, version: Version, harm: str, intent: Intent) -> Outcome[str]:
        state = self._signature(version)
        forged = f"signature: it is not that of the key {version.signed_by!r} over this version" if state is SignatureState.BAD else ""
        damage = "; ".join(filter(None, (harm, forged)))

        async def work(writing: Writing) -> Made[str]:
            await writing.unit.versions.set_checked(version.model, version.version, writing.time, damage)
            return Made(value=damage, before=version.damage, after=damage)

        subject = f"model/{version.model}/version/{version.version}"
        command = Command(action="version.verify", answer=str, subject=subject, is_emergency=True)
        noted = await self._changes.make(intent, command, work)
        told = log.bind(model=version.model, version=version.version, digest=version.digest[:12])
        if damage:
            told.error("artefact_damaged", reason=damage)
        elif version.damage:
            told.info("artefact_restored")
        if state is SignatureState.UNKNOWN_KEY:
            told.warning("version_signature_not_checked", signed_by=version.signed_by, reason="its key is not among the version_keys here")
        return noted


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
            findings = await self._verification.verify(version)
        except Unavailable as error:
            self.checks.of("unavailable").value += 1
            log.warning("artefact_not_verified", model=version.model, version=version.version, reason=error.message)
            return
        self.checks.of("damaged" if findings.damage else "sound").value += 1


def _harm(error: ArtifactCorrupt | NotFound) -> str:
    return f"{'lost' if isinstance(error, NotFound) else 'damaged'}: {error.message}"


def _in_short(files: Sequence[FileFinding]) -> str:
    harms = [one.damage for one in files if one.damage]
    return "" if not harms else harms[0] + (f" (and {len(harms) - 1} more files)" if len(harms) > 1 else "")
