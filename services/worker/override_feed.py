"""From published overrides to whoever acts on them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import structlog

from penstock.v1 import worker_pb2 as pb
from services.chassis.clock import Clock
from services.chassis.feeds import FolderFeed
from services.worker.overrides import Override

log = structlog.get_logger(__name__)


class OverrideTaker(Protocol):
    """Who acts on overrides."""

    def override_changed(self, override: Override | None, model: str) -> None:
        """Take the newest override of a model; None when there is none any more."""
        ...


class OverrideFeed:
    """Follows the overrides in a folder, and adds the time at which each was written."""

    def __init__(self, folder: Path, taker: OverrideTaker, clock: Clock) -> None:
        """Store the arguments."""
        self._folder = folder
        self._taker = taker
        self._feed = FolderFeed(folder, pb.ModelOverride.FromString, clock)

    async def follow(self) -> None:
        """Hand on what is there, then every change, until cancelled."""
        await self._feed.follow(self.take)

    async def caught_up(self) -> None:
        """Return when everything that was there when `follow` began has been handed on."""
        await self._feed.caught_up()

    def take(self, model: str, proto: pb.ModelOverride | None) -> None:
        """Hand one change on; a file that is named for another model than it holds is logged and ignored."""
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
