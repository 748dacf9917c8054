"""What a person may ask of a running serve: other settings, or the end at once."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import structlog

from services.chassis.child import Child
from services.chassis.clock import Clock
from services.chassis.config import ConfigFile
from services.embedded.addresses import Addresses
from services.embedded.children import write_settings
from services.embedded.crash_watch import CrashWatch
from services.embedded.run_folder import RunFolder
from services.embedded.settings import EmbeddedSettings

FIXED = (
    "repository",
    "host",
    "insecure_bind",
    "http_port",
    "grpc_port",
    "metrics_host",
    "metrics_port",
    "workers",
    "routers",
    "state_dir",
    "runtime_dir",
)
"""Settings that hold until the end."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """One serve: where it is and what runs."""

    settings: EmbeddedSettings
    addresses: Addresses
    folder: RunFolder
    routers: tuple[Child, ...]
    workers: tuple[Child, ...]
    watch: CrashWatch
    clock: Clock

    @property
    def children(self) -> tuple[Child, ...]:
        """All children, in the order of their stop."""
        return (*self.routers, *self.workers)


class Supervisor:
    """Passes on what the supervisor is asked for."""

    def __init__(self, config: ConfigFile[EmbeddedSettings], serve: Serve) -> None:
        """Store the arguments and listen for changed settings."""
        self._config = config
        self._serve = serve
        config.on_change(self._apply)

    def reload(self) -> None:
        """Read the settings again, write those of the children again, and have them read theirs."""
        if not self._config.reload():
            self._apply(self._config.current)

    def abandon(self) -> None:
        """Kill all children."""
        for child in self._serve.children:
            child.kill()

    def _apply(self, settings: EmbeddedSettings) -> None:
        held = {name: getattr(self._serve.settings, name) for name in FIXED}
        changed = [name for name in FIXED if getattr(settings, name) != held[name]]
        if changed:
            log.warning("config_needs_restart", names=changed)
        try:
            write_settings(settings.model_copy(update=held), self._serve.addresses, self._serve.folder)
        except OSError as error:
            log.exception("config_not_passed_on", reason=str(error))
            return
        for child in self._serve.children:
            child.signal(signal.SIGHUP)
        log.info("config_passed_on", children=len(self._serve.children))
