"""Keeps the tenants of a file in force: read at the start, read again when it changes or on demand."""

from __future__ import annotations

from pathlib import Path

import structlog

from penstock.contracts.errors import ServingError
from services.chassis.clock import Clock
from services.chassis.process import CannotStart
from services.router.tenants import Tenants

POLL_SECONDS = 1.0
"""Time between two looks at the file."""

log = structlog.get_logger(__name__)


class TenantsFile:
    """Loads tenants; an invalid file changes nothing and says so."""

    def __init__(self, tenants: Tenants, path: Path | None, *, is_on_bus: bool = False) -> None:
        """Keep the arguments; without a path everybody may call, unless tenants come by the bus or keys are required."""
        self.rejected = 0
        """How often a changed file was invalid."""
        self._tenants = tenants
        self._path = path
        self._is_on_bus = is_on_bus
        self._stamp: tuple[int, int, int] | None = None

    def open(self) -> None:
        """Read the file for the first time.

        Raises:
            CannotStart: it cannot be read or is invalid, tenants come by the bus, or keys are required and nobody has one.
        """
        if self._is_on_bus:
            self._refuse_both()
        elif self._path is None and not self._tenants.is_open:
            raise CannotStart("require_keys is set, but there are no keys: name a tenants_file, or bus.bootstrap_servers")
        elif self._path is None:
            log.warning("no_tenants_file", effect="everybody who reaches the ports may call and load every model")
        else:
            self._open(self._path)

    def _open(self, path: Path) -> None:
        self._stamp = self._look()
        try:
            self._tenants.load(path)
        except (OSError, ServingError) as error:
            raise CannotStart(f"{path}: {error}") from None
        log.info("tenants_loaded", count=len(self._tenants.all()))

    def _refuse_both(self) -> None:
        if self._path is not None:
            raise CannotStart(
                f"tenants come by the bus (bus.bootstrap_servers) and from {self._path} (tenants_file): set one of the two; "
                "on the bus tenants are made with `penstock tenants set` and `penstock keys create --tenant NAME`"
            )

    def reload(self) -> bool:
        """Read the file again; False, and nothing changes, when it is invalid."""
        if self._path is None:
            return True
        self._stamp = self._look()
        try:
            self._tenants.load(self._path)
        except (OSError, ServingError) as error:
            self.rejected += 1
            log.error("tenants_rejected", path=str(self._path), reason=str(error))  # noqa: TRY400 - a person's mistake, no trace
            return False
        log.info("tenants_loaded", count=len(self._tenants.all()))
        return True

    async def follow(self, clock: Clock) -> None:
        """Reload whenever the file changes, until cancelled."""
        while True:
            await clock.sleep(POLL_SECONDS)
            if self._path is not None and self._look() not in (None, self._stamp):
                self.reload()

    def _look(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return (stat.st_ino, stat.st_size, stat.st_mtime_ns)
