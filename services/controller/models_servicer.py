"""The registry over the wire: uploads, versions, models and aliases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from penstock.contracts.artefacts import ManifestFile
from penstock.contracts.errors import InvalidInput
from penstock.v1 import controller_pb2 as pb
from services.chassis.disk_threads import DiskThreads
from services.controller.callers import Caller
from services.controller.deployment_values import DeploymentStatus
from services.controller.deployments import Fleet
from services.controller.deployments_servicer import deployment_messages
from services.controller.model_ports import Page
from services.controller.model_values import Model
from services.controller.ports import Catalogue, Unit
from services.controller.registration import Registration
from services.controller.registration_book import CatalogueBook
from services.controller.registration_values import MlflowModel, RegistrationRequest, Source, Uploaded, Url
from services.controller.registry import Description, Registry, known_model
from services.controller.servicer_messages import asked, asked_anew, change_message, model_message, route_message, version_message
from services.controller.uploads import UploadArea

MOST_MODELS = 10_000
"""Most models of one answer."""


class Uploads:
    """Takes files piece by piece."""

    def __init__(self, area: UploadArea, threads: DiskThreads) -> None:
        """Keep where they lie, and who may block."""
        self._area = area
        self._threads = threads

    async def state(self, _: Caller, request: pb.GetUploadRequest) -> pb.GetUploadResponse:
        """Say how far an upload is."""
        received, is_whole = self._area.received(request.sha256)
        return pb.GetUploadResponse(received_bytes=received, complete=is_whole)

    async def take(self, _: Caller, requests: AsyncIterator[pb.UploadBlobRequest]) -> pb.UploadBlobResponse:
        """Take the bytes of one file, from where the last try ended."""
        sha256, size, received = "", 0, 0
        async for one in requests:
            sha256, size = sha256 or one.sha256, size or one.size_bytes
            if one.sha256 not in ("", sha256):
                raise InvalidInput("one stream carries one file: its chunks name another digest", reason="BAD_UPLOAD", field="sha256")
            received = await self._threads.run(self._area.write, sha256, size, one.offset_bytes, one.chunk)
        if not sha256:
            raise InvalidInput("no chunk came", reason="BAD_UPLOAD", field="sha256")
        return pb.UploadBlobResponse(received_bytes=received)


class ModelsServicer:
    """Answers what is about models and their versions."""

    def __init__(self, registry: Registry, registration: Registration, catalogue: Catalogue, fleet: Fleet) -> None:
        """Keep the use cases, what they have written, and what workers report."""
        self._registry = registry
        self._registration = registration
        self._catalogue = catalogue
        self._fleet = fleet

    async def register_version(self, caller: Caller, request: pb.RegisterVersionRequest) -> pb.RegisterVersionResponse:
        """Register a version."""
        intent = caller.intent(asked_anew(request.options, "a new version"))
        wanted = RegistrationRequest(
            model=request.model,
            version=request.version,
            source=_source(request),
            lineage=dict(request.metadata),
            created_by=caller.name,
            signature=request.signature,
            key_id=request.key_id,
        )
        described = Description(description=request.description or None, owner=request.owner or None, framework=request.framework or None)
        book = CatalogueBook(self._registry, intent, described)
        await self._registration.register(wanted, book, prefixes=caller.prefixes, is_trial=intent.dry_run)
        outcome = book.outcome
        return pb.RegisterVersionResponse(version=version_message(outcome.value), change=change_message(outcome))

    async def list_models(self, _: Caller, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        """List the models by name."""
        async with self._catalogue.reading() as unit:
            found = await unit.models.page(Page(limit=MOST_MODELS))
            wanted = [model for model in found if model.name.startswith(request.prefix)]
            return pb.ListModelsResponse(models=[await _described(unit, model) for model in wanted])

    async def get_model(self, _: Caller, request: pb.GetModelRequest) -> pb.GetModelResponse:
        """Show one model and what is live of it."""
        async with self._catalogue.reading() as unit:
            model = await known_model(unit, request.model)
            deployments = [one for one in await unit.deployments.of(model.name) if one.status is not DeploymentStatus.RETIRED]
            held = await unit.routes.latest(model.name)
            answer = pb.GetModelResponse(
                model=await _described(unit, model),
                deployments=await deployment_messages(unit, deployments, self._fleet.workers()) if deployments else [],
            )
            if held is not None and held.route is not None:
                answer.route.CopyFrom(route_message(held.route))
            return answer

    async def set_alias(self, caller: Caller, request: pb.SetAliasRequest) -> pb.SetAliasResponse:
        """Give a version another name, or take the name away."""
        outcome = await self._registry.set_alias(request.model, request.alias, request.version, caller.intent(asked(request.options)))
        async with self._catalogue.reading() as unit:
            aliases = await unit.aliases.of(request.model)
            return pb.SetAliasResponse(model=model_message(outcome.value, aliases, []), change=change_message(outcome))


async def _described(unit: Unit, model: Model) -> pb.Model:
    aliases: Mapping[str, str] = await unit.aliases.of(model.name)
    return model_message(model, aliases, await unit.versions.of(model.name))


def _source(request: pb.RegisterVersionRequest) -> Source:
    if bool(request.files) == bool(request.source):
        raise InvalidInput("name a source, or the files that were uploaded: one of both", reason="BAD_VALUE", field="source")
    if request.files:
        return Uploaded(files=tuple(ManifestFile(path=one.path, size=one.size_bytes, sha256=one.sha256) for one in request.files))
    if request.source.startswith("models:/"):
        return MlflowModel(uri=request.source)
    return Url(url=request.source)
