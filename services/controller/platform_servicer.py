"""The platform as a whole over the wire: manifests, and the freeze of all writes."""

from __future__ import annotations

from penstock.v1 import controller_pb2 as pb
from services.controller.applying import Applying
from services.controller.callers import Caller
from services.controller.platform_settings import PlatformSettings
from services.controller.republishing import Republishing
from services.controller.servicer_messages import asked, change_message, record_message


class PlatformServicer:
    """Answers what is about more than one model."""

    def __init__(self, applying: Applying, settings: PlatformSettings, republishing: Republishing) -> None:
        """Keep the use cases."""
        self._applying = applying
        self._settings = settings
        self._republishing = republishing

    async def apply(self, caller: Caller, request: pb.ApplyRequest) -> pb.ApplyResponse:
        """Make the mesh be as a manifest says."""
        outcome = await self._applying.apply(request.manifest, caller.intent(asked(request.options)))
        changes = [record_message(record) for record in outcome.value.changes]
        for change in changes:
            change.dry_run = outcome.is_dry_run
        return pb.ApplyResponse(changes=changes, pending=outcome.value.pending)

    async def set_writes_frozen(self, caller: Caller, request: pb.SetWritesFrozenRequest) -> pb.SetWritesFrozenResponse:
        """Stop every change but emergencies, or take changes again."""
        outcome = await self._settings.freeze_writes(frozen=request.frozen, intent=caller.intent(asked(request.options)))
        frozen = bool(outcome.value.value)
        return pb.SetWritesFrozenResponse(frozen=frozen, change=change_message(outcome), revision=outcome.value.revision)

    async def republish(self, caller: Caller, request: pb.RepublishRequest) -> pb.RepublishResponse:
        """Publish again what is in force and the topics have lost."""
        outcome = await self._republishing.republish(caller.intent(asked(request.options)))
        return pb.RepublishResponse(records=outcome.value, change=change_message(outcome))
