"""The way back in for whoever has the controller's machine: makes an administrator's key in the catalogue itself.

    python -m services.controller make-administrator --config FILE [--tenant NAME] [--life-seconds SECONDS] [--reason TEXT]

`penstock keys administrator` runs it. It asks for no key: who reads the catalogue's password or file could write there anyhow. A
controller that runs goes on being the writer, for the key is written under its epoch, and publishes it within a second; without one
the next that starts does. It works while writes are frozen, and the audit shows it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from penstock.contracts.api_keys import DEFAULT_ENVIRONMENT
from penstock.contracts.errors import InvalidTransition, ServingError, Unavailable
from services.chassis.config import ConfigFile, override_tree
from services.chassis.process import CannotStart
from services.controller.administrators import is_operator
from services.controller.changes import Changes, Command, Intent, Made, Writing
from services.controller.config import ControllerSettings
from services.controller.key_making import hash_of, new_key
from services.controller.lease import LeaseKeeping
from services.controller.ports import Catalogue
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine
from services.controller.sql_migrations import migrate
from services.controller.tenancy import check_life, check_tenant_name, shown, written
from services.controller.tenant_values import ApiKey, Tenant

SUBCOMMAND = "make-administrator"
ACTOR = "controller-machine"
LEASE_SECONDS = 5.0
TRIES = 5
"""A writer may be replaced between the look at its epoch and the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which key is to be made."""

    tenant: str = "administrators"
    life_seconds: float | None = None
    reason: str = ""
    pepper: bytes = b""
    environment: str = DEFAULT_ENVIRONMENT


def main(arguments: Sequence[str]) -> NoReturn:
    """Make the key and print one JSON object with it; the exit code is 1 when it holds an error instead."""
    given = _parser().parse_args(arguments)
    try:
        settings = ConfigFile(ControllerSettings, path=given.config, overrides=override_tree(given.set)).current
        wanted = Wanted(
            tenant=given.tenant,
            life_seconds=given.life_seconds or None,
            reason=given.reason,
            pepper=settings.key_pepper.encode(),
            environment=settings.key_environment,
        )
        key, made = asyncio.run(_on_the_machine(settings, wanted))
        answer: dict[str, object] = {"tenant": made.tenant, "key": key, "id": made.key_id}
    except ServingError as error:
        answer = {"error": {"reason": error.reason, "message": error.message}}
    except CannotStart as error:
        answer = {"error": {"reason": "CANNOT_START", "message": str(error)}}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.exit(1 if "error" in answer else 0)


async def make_administrator(catalogue: Catalogue, wanted: Wanted) -> tuple[str, ApiKey]:
    """Make a tenant that may change the mesh, unless it is there, and a key for it; return the key and what is kept of it.

    Raises:
        InvalidInput: the name is none, or the key would be over before it begins.
        InvalidTransition: the tenant is there and may not change the mesh, or is frozen.
        Unavailable: the database is away, or its writers change too often.
    """
    check_tenant_name(wanted.tenant)
    check_life(wanted.life_seconds)
    for left in reversed(range(TRIES)):
        try:
            return await _under(await _epoch(catalogue), catalogue, wanted)
        except Unavailable as error:
            if error.reason != "NOT_THE_WRITER" or not left:
                raise
    raise AssertionError


async def _on_the_machine(settings: ControllerSettings, wanted: Wanted) -> tuple[str, ApiKey]:
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = open_engine(settings.database_url, settings.database_password)
    try:
        await migrate(engine)
        return await make_administrator(SqlCatalogue(engine), wanted)
    finally:
        await engine.dispose()


async def _epoch(catalogue: Catalogue) -> int:
    """Return the epoch of whoever writes or wrote last; where nobody ever did, begin the first and give it back at once."""
    async with catalogue.reading() as unit:
        if unit.lease is not None:
            return unit.lease.epoch
    keeping = LeaseKeeping(catalogue, holder=ACTOR, life_seconds=LEASE_SECONDS)
    mine = await keeping.claim(None)
    if mine is not None:
        await keeping.give_back(mine)
    return 0 if mine is None else mine.epoch


async def _under(epoch: int, catalogue: Catalogue, wanted: Wanted) -> tuple[str, ApiKey]:
    key_id, key = new_key(wanted.environment)

    async def work(writing: Writing) -> Made[ApiKey]:
        held = await writing.unit.tenants.get(wanted.tenant)
        if held is not None and (held.frozen or not is_operator(held)):
            raise InvalidTransition(f"tenant {wanted.tenant!r} is frozen or may not change the mesh: name another one with --tenant")
        made = ApiKey(
            key_id=key_id,
            tenant=wanted.tenant,
            hash=hash_of(key, wanted.pepper),
            created_by=ACTOR,
            created_time=writing.time,
            expires_time=None if wanted.life_seconds is None else writing.time + wanted.life_seconds,
        )
        owner = held or Tenant(name=wanted.tenant, revision=0, settings={"admin": True}, created_time=writing.time)
        if held is None:
            await writing.unit.tenants.add(owner)
        await writing.unit.keys.add(made)
        after = await written(writing, owner, owner)
        return Made(value=made, before=None, after=shown(made), revision=after.revision)

    changes = Changes(catalogue, epoch=lambda: epoch, committed=lambda: None)
    command = Command(action="administrator.make", answer=ApiKey, subject=f"tenant/{wanted.tenant}", is_emergency=True)
    outcome = await changes.make(Intent(actor=ACTOR, why=wanted.reason), command, work)
    return key, outcome.value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m services.controller {SUBCOMMAND}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the controller's settings")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting, before all other sources")
    parser.add_argument("--tenant", default="administrators", metavar="NAME", help="whose key it is")
    parser.add_argument("--life-seconds", type=float, default=0.0, help="time until it is refused; 0 for ever")
    parser.add_argument("--reason", default="", help="why, for the audit")
    return parser
