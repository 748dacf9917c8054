"""Files of registered versions, read again: what the store has lost or changed is known before somebody needs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.errors import Conflict, Unavailable
from services.chassis.artefact_store import ArtefactStore, Target
from services.chassis.disk_threads import DiskThreads
from services.chassis.object_store import open_objects
from services.controller.config import ControllerSettings
from services.controller.deployment_values import DeploymentSpec
from services.controller.model_values import Version
from services.controller.registry import Description
from services.controller.servicer_messages import version_message
from services.controller.verification import DAMAGED_SECONDS, Paced, Touchstones, Verification, VerificationLoop
from services.controller.verifying import LOOK_SECONDS, verifying
from tests.chassis.manual_clock import ManualClock
from tests.chassis.stored_versions import manifest_of, written
from tests.controller.stand import ANN, Stand

MONTH = 30 * 86_400.0
FILES = {"version/model.onnx": b"m" * 5000, "labels.txt": b"a\nb\n"}


class Nowhere:
    def __init__(self) -> None:
        self.read_bytes = 0

    async def write(self, chunk: bytes) -> None:
        self.read_bytes += len(chunk)

    async def restart(self) -> None: ...


class Away:
    async def manifest(self, digest: str) -> Manifest:
        del digest
        raise Unavailable("the store is away")

    async def fetch(self, file: ManifestFile, target: Target) -> None:
        raise AssertionError


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ArtefactStore]:
    async with DiskThreads("tests") as threads:
        yield ArtefactStore(open_objects(f"file://{tmp_path}/store"), threads)


@pytest.fixture
async def manifest(tmp_path: Path, store: ArtefactStore, stand: Stand) -> Manifest:
    """A version that is stored and registered, as fraud 1 and as copy 1."""
    manifest = manifest_of(FILES)
    await store.put(manifest, written(tmp_path / "sources", FILES))
    for model in ("fraud", "copy"):
        await stand.registry.register(Version(model=model, version="1", digest=manifest.digest), Description(), ANN)
    return manifest


def blob(root: Path, manifest: Manifest, path: str = "version/model.onnx") -> Path:
    sha256 = next(one.sha256 for one in manifest.files if one.path == path)
    return root / "store" / "blobs" / sha256[:2] / sha256


async def held(stand: Stand, model: str = "fraud") -> Version:
    async with stand.catalogue.reading() as unit:
        version = await unit.versions.get(model, "1")
    assert version is not None
    return version


async def aged(stand: Stand, seconds: float) -> None:
    await stand.sql(f"UPDATE versions SET created_time = created_time - {seconds}, checked_time = checked_time - {seconds}")


async def test_a_version_is_due_when_nobody_has_looked_for_a_month_and_that_outlives_a_restart(
    stand: Stand, store: ArtefactStore, manifest: Manifest
):
    pace = Nowhere()
    looked = Verification(stand.changes, Touchstones(store=store), pace)
    assert await looked.due(MONTH) == ()
    await aged(stand, MONTH + 60)
    assert {one.model for one in await looked.due(MONTH)} == {"copy", "fraud"}

    assert (await looked.verify(await held(stand))).damage == ""

    assert pace.read_bytes == manifest.total_bytes
    assert await Verification(stand.changes, Touchstones(store=store), pace).due(MONTH) == ()
    assert (await held(stand, "copy")).checked_time is not None
    assert "checked_time" in version_message(await held(stand)).metadata
    assert [one for one in await stand.audit() if one.action == "version.verify"] == []


@pytest.mark.parametrize(("harm", "says"), [("flip", "damaged"), ("cut", "damaged"), ("lose", "lost"), ("lose the manifest", "lost")])
async def test_what_the_store_has_changed_or_lost_is_said_audited_shown_and_not_deployed(
    stand: Stand, store: ArtefactStore, manifest: Manifest, tmp_path: Path, harm: str, says: str
):
    path = blob(tmp_path, manifest)
    content = path.read_bytes()
    if harm == "lose the manifest":
        (tmp_path / "store" / "manifests" / f"{manifest.digest}.json").unlink()
    elif harm == "lose":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (b"x" if harm == "flip" else b""))
    await aged(stand, MONTH + 60)
    loop = VerificationLoop(Verification(stand.changes, Touchstones(store=store), Nowhere()), MONTH)

    with structlog.testing.capture_logs() as logs:
        await loop.look()

    assert {(one["model"], one["log_level"]) for one in logs if one["event"] == "artefact_damaged"} == {
        ("fraud", "error"),
        ("copy", "error"),
    }
    assert loop.checks.of("damaged").value == 1
    assert loop.damaged.of().value == 2
    record = next(one for one in await stand.audit("model/fraud/version/1") if one.action == "version.verify")
    assert (record.actor, record.after.startswith(f'"{says}')) == ("controller", True)
    assert version_message(await held(stand)).metadata["damage"].startswith(says)
    with pytest.raises(Conflict) as refusal:
        await stand.deployments.create(DeploymentSpec(model="fraud", version="1"), ANN)
    assert refusal.value.reason == "VERSION_NOT_DEPLOYABLE"


async def test_what_was_restored_is_sound_within_the_hour_and_that_is_audited_once(
    stand: Stand, store: ArtefactStore, manifest: Manifest, tmp_path: Path
):
    path = blob(tmp_path, manifest)
    content = path.read_bytes()
    path.write_bytes(b"")
    loop = VerificationLoop(Verification(stand.changes, Touchstones(store=store), Nowhere()), MONTH)
    await aged(stand, MONTH + 60)
    await loop.look()
    await aged(stand, DAMAGED_SECONDS + 60)
    await loop.look()  # still damaged: nothing new for the audit
    path.write_bytes(content)
    await aged(stand, DAMAGED_SECONDS + 60)

    await loop.look()

    assert (await held(stand)).damage == ""
    assert loop.damaged.of().value == 0
    assert [one.action for one in await stand.audit("model/fraud/version/1")].count("version.verify") == 2
    await stand.deployments.create(DeploymentSpec(model="fraud", version="1"), ANN)


async def test_a_store_that_is_away_is_no_damage_and_the_version_stays_due(stand: Stand, manifest: Manifest):
    await aged(stand, MONTH + 60)
    loop = VerificationLoop(Verification(stand.changes, Touchstones(store=Away()), Nowhere()), MONTH)

    await loop.look()

    assert (await held(stand)).damage == ""
    assert loop.checks.of("unavailable").value == 1
    assert len(await Verification(stand.changes, Touchstones(store=Away()), Nowhere()).due(MONTH)) == 2
    assert manifest.digest == (await held(stand)).digest


async def test_withdrawn_versions_are_not_read(stand: Stand, store: ArtefactStore, manifest: Manifest):
    del manifest
    await aged(stand, MONTH + 60)
    await stand.sql("UPDATE versions SET state = 'deleted'")

    assert await Verification(stand.changes, Touchstones(store=store), Nowhere()).due(MONTH) == ()


async def test_reading_is_as_slow_as_the_rate_says():
    clock = ManualClock()
    writing = asyncio.ensure_future(Paced(clock, 1000.0).write(b"x" * 250))
    await clock.asleep()
    clock.advance(0.24)
    await asyncio.sleep(0)
    assert not writing.done()
    clock.advance(0.02)

    await writing


async def test_only_the_writer_looks(stand: Stand, store: ArtefactStore, manifest: Manifest, tmp_path: Path):
    del manifest
    await aged(stand, MONTH + 60)
    clock, is_writer = ManualClock(), [False]
    settings = ControllerSettings(state_dir=tmp_path, verify_bytes_per_second=float(1 << 40))
    async with verifying(stand.changes, Touchstones(store=store), settings, clock, lambda: is_writer[0]) as verified:
        await clock.asleep()
        assert verified.loop.checks.of("sound").value == 0
        is_writer[0] = True
        clock.advance(LOOK_SECONDS)
        while not verified.loop.checks.of("sound").value:
            await clock.asleep()
            clock.advance(0.01)

    assert (await held(stand)).checked_time is not None
    assert {one.name for one in verified.collect()} == {"penstock_artefact_checks", "penstock_artefacts_damaged"}
