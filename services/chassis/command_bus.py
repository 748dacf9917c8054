"""How commands reach Kafka that are no service: the settings of `bus`, by the environment (`PENSTOCK_BUS__TLS=true`) or a file."""

from __future__ import annotations

from pathlib import Path

from services.chassis.bus_settings import BusSettings
from services.chassis.config import Settings, load


class CommandBus(Settings, BusSettings, env_prefix="PENSTOCK_BUS__"):  # pyright: ignore[reportIncompatibleVariableOverride]  pydantic merges both
    """The settings of `bus` as a tree of their own."""


def command_bus(bootstrap_servers: str, file: Path | None = None) -> BusSettings:
    """Return how a command reaches the brokers that its command line names.

    Raises:
        InvalidConfig: naming every problem with its source.
    """
    return load(CommandBus, file=file, overrides={"bootstrap_servers": bootstrap_servers})
