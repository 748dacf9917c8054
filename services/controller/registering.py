"""Opens what a registration needs: the store, the sandbox, the staging folder and the uploads."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from services.chassis.artefact_store import ArtefactStore
from services.chassis.clock import Clock
from services.chassis.disk_threads import DiskThreads
from services.chassis.object_store import open_objects
from services.chassis.process import CannotStart, running
from services.controller.config import ControllerSettings
from services.controller.https_source import HttpsSource
from services.controller.model_sandbox import ModelSandbox, SandboxLimits
from services.controller.public_addresses import networks_of
from services.controller.registration import Registration, RegistrationPorts, RegistrationRules
from services.controller.sources import MlflowRegistry, SourceRules, Sources
from services.controller.uploads import UploadArea, UploadLimits
from services.controller.verification import Touchstones
from services.controller.version_signing import SigningPolicy

SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registering:
    """What takes versions in."""

    registration: Registration
    uploads: UploadArea
    store: ArtefactStore
    threads: DiskThreads
    signing: SigningPolicy

    @property
    def touchstones(self) -> Touchstones:
        """What registered versions are checked against."""
        return Touchstones(store=self.store, signing=self.signing)


@asynccontextmanager
async def registering(settings: ControllerSettings, clock: Clock) -> AsyncGenerator[Registering]:
    """Take versions in while the block lasts.

    Raises:
        Unavailable: a folder cannot be used.
        InvalidInput: the store's URL names none.
        CannotStart: the file of keys that sign versions is none.
    """
    signing = SigningPolicy.load(settings.version_keys, is_required=settings.require_version_signatures)
    async with AsyncExitStack() as stack:
        threads = await stack.enter_async_context(DiskThreads("registration", threads=4))
        uploads = UploadArea(settings.state_dir / "uploads", UploadLimits())
        await threads.run(uploads.open)
        store = ArtefactStore(open_objects(settings.artefacts_url), threads)
        ports = RegistrationPorts(
            sources=Sources(_rules(settings), uploads, MlflowRegistry(), threads),
            examiner=ModelSandbox(SandboxLimits()),
            store=store,
            threads=threads,
            wall_clock=time.time,
        )
        registration = Registration(ports, RegistrationRules(staging_folder=settings.state_dir / "staging", signing=signing))
        await registration.open()
        await stack.enter_async_context(running(_sweeping(uploads, threads, clock), name="uploads"))
        yield Registering(registration=registration, uploads=uploads, store=store, threads=threads, signing=signing)


def _rules(settings: ControllerSettings) -> SourceRules:
    try:
        networks = networks_of(settings.source_networks)
    except ValueError as error:
        raise CannotStart(f"source_networks: {error}") from None
    authorities = settings.source_authorities
    if authorities is not None:
        try:
            ssl.create_default_context(cafile=str(authorities))
        except OSError as error:
            raise CannotStart(f"source_authorities: {authorities}: {error.strerror or error}") from None
    return SourceRules(urls=settings.sources, https=HttpsSource(networks=networks, authorities=authorities))


async def _sweeping(uploads: UploadArea, threads: DiskThreads, clock: Clock) -> None:
    while True:
        await clock.sleep(SWEEP_SECONDS)
        await threads.run(uploads.sweep)
