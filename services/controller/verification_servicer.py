"""Verification of versions over the wire, at once and as fast as the store gives them."""

from __future__ import annotations

from dataclasses import replace

from penstock.contracts.errors import Overloaded
from penstock.v1 import controller_pb2 as pb
from services.controller.callers import Caller
from services.controller.model_values import Version
from services.controller.ports import Catalogue
from services.controller.registry import known_version
from services.controller.servicer_messages import asked_anew, change_message, version_message
from services.controller.verification import FileFinding, Verification

MOST_AT_ONCE = 2
"""Reading a version takes the disk and a processor from registrations."""


class VerificationServicer:
    """Answers whether versions are as they were registered."""

    def __init__(self, verification: Verification, catalogue: Catalogue) -> None:
        """Keep what looks, and where versions are written down."""
        self._verification = verification
        self._catalogue = catalogue
        self._present = 0

    async def verify_version(self, caller: Caller, request: pb.VerifyVersionRequest) -> pb.VerifyVersionResponse:
        """Read a version's files again, and write down what was found."""
        if self._present >= MOST_AT_ONCE:
            raise Overloaded(f"{MOST_AT_ONCE} versions are being verified: try again later", retry_after_seconds=1.0)
        self._present += 1
        try:
            return await self._answer(caller, request)
        finally:
            self._present -= 1

    async def _answer(self, caller: Caller, request: pb.VerifyVersionRequest) -> pb.VerifyVersionResponse:
        version = await self._version(request.model, request.version)
        # One look may write down several versions of the same files: each is a change of its own.
        intent = replace(caller.intent(asked_anew(request.options, "a verification")), idempotency_key="")
        found = await self._verification.verify(version, intent)
        return pb.VerifyVersionResponse(
            version=version_message(await self._version(version.model, version.version)),
            files=[_file(one) for one in found.files],
            damage=found.damage,
            signature_state=f"SIGNATURE_STATE_{found.signature.name}",
            change=change_message(found.noted),
        )

    async def _version(self, model: str, name: str) -> Version:
        async with self._catalogue.reading() as unit:
            aliases = await unit.aliases.of(model)
            return await known_version(unit, model, aliases.get(name, name))


def _file(found: FileFinding) -> pb.VerifiedFile:
    return pb.VerifiedFile(path=found.file.path, size_bytes=found.file.size, sha256=found.file.sha256, damage=found.damage)
