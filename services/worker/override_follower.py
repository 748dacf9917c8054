"""From published overrides to the reconciler."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import structlog

from penstock.v1 import worker_pb2 as pb
from services.worker.overrides import Override

log = structlog.get_logger(__name__)


class OverrideTaker(Protocol):
    """Who acts on overrides."""

    def override_changed(self, override: Override | None, model: str) -> None:
        """Take the newest override of a model; None when there is none any more."""
        ...


class OverrideFollower:
    """Hands overrides on together with the time at which they were written; what a feed of `folder` calls."""

    def __init__(self, taker: OverrideTaker, folder: Path) -> None:
        """Store the arguments."""
        self._taker = taker
        self._folder = folder

    def __call__(self, model: str, proto: pb.ModelOverride | None) -> None:
        """Take a change; a file that is named for another model than it holds is logged and ignored."""
        if proto is None:
            self._taker.override_changed(None, model)
        elif proto.model != model:
            log.warning("override_misnamed", file=model, model=proto.model)
        else:
            self._taker.override_changed(Override.from_proto(proto, changed_time=self._written_time(model)), model)

    def _written_time(self, model: str) -> float:
        try:
            return (self._folder / f"{model}.pb").stat().st_mtime
        except OSError:
            return 0.0
