"""Answers what a model takes and gives, to whoever may call it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from penstock.contracts.signature import Signature
from services.mesh.route_table import Deployment
from services.router.control import Control


class Signatures(Protocol):
    """What predictions in rows need to know of models."""

    def signature_of(self, key: str | None, model: str, version: str) -> Signature:
        """Return the signature of what serves a name.

        Raises:
            Unauthenticated: no valid key where one is needed.
            ModelNotFound, VersionNotFound: nothing of this name, or nothing that this key may call.
            NoReadyReplica: it exists and is not ready.
        """
        ...

    def models(self, key: str | None) -> Sequence[str]:
        """Return the names of the models that this key may call and that are ready."""
        ...


class ControlSignatures:
    """Signatures as the router's directory has them."""

    def __init__(self, control: Control) -> None:
        """Keep what knows callers and models."""
        self._control = control

    def signature_of(self, key: str | None, model: str, version: str) -> Signature:
        """Return the signature of what serves a name; raises what the port says."""
        return self.deployment_of(key, model, version).signature

    def deployment_of(self, key: str | None, model: str, version: str) -> Deployment:
        """Return what serves a name; raises what the port says."""
        return self._control.directory.deployment(model, version, may_see=self._control.tenants.of(key).may_call)

    def models(self, key: str | None) -> Sequence[str]:
        """Return the models that are ready."""
        index = self._control.index(key, ready_only=True, repository_name="")
        return list(dict.fromkeys(entry.name for entry in index.models))
