"""Who calls the controller, by the keys of the catalogue: the same that open models, and only an administrator's change the mesh.

Until the first key of an administrator was made everybody may: there is nobody yet who could make it. The log says so. From then on the
controller is closed for ever, whatever becomes of that key (`administrators.py`); the setting `require_keys` closes it from the start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import structlog

from penstock.contracts.errors import TenantForbidden, Unauthenticated
from services.chassis.presented_keys import PresentedKey
from services.chassis.wrong_keys import WrongKeys, network_of
from services.controller import administrators
from services.controller.callers import Caller
from services.controller.key_making import id_in, is_hash_of
from services.controller.ports import Catalogue, Unit
from services.controller.tenant_values import Tenant

ANONYMOUS = "anonymous"

log = structlog.get_logger(__name__)


class KnownCallers:
    """Recognises callers."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        pepper: bytes = b"",
        require_keys: bool = False,
        on_use: Callable[[str], object] | None = None,
        wrong_keys: WrongKeys | None = None,
    ) -> None:
        """Keep the arguments.

        Args:
            catalogue: where the keys are.
            pepper: what they are hashed under.
            require_keys: let nobody in without a key, not even before there is one.
            on_use: hears the ids of keys that let somebody in.
            wrong_keys: ends guessing.
        """
        self._on_use = on_use
        self._wrong_keys = wrong_keys or WrongKeys(0)
        self._catalogue = catalogue
        self._pepper = pepper
        self._is_closed = require_keys
        self._has_warned = False

    async def of(self, key: str | None, *, writes: bool) -> Caller:
        """Return the caller of a presented key.

        Raises:
            Unauthenticated: no key where one is needed, or one that opens nothing.
            QuotaExceeded: too many wrong keys came from the address of this one, which is not known to be good.
            TenantForbidden: a tenant that may not change the mesh.
        """
        if key is not None:
            self._wrong_keys.check(_peer(key), str(key), time.monotonic())
        async with self._catalogue.reading() as unit:
            if await self._is_open(unit):
                return Caller(name=ANONYMOUS, tenant=ANONYMOUS, is_operator=True)
            caller = await self._known(unit, key)
        if writes and not caller.is_operator:
            raise TenantForbidden(f"tenant {caller.tenant!r} may call models but not change the mesh")
        return caller

    async def _known(self, unit: Unit, key: str | None) -> Caller:
        if key is None:
            raise Unauthenticated("an API key is needed: send it as 'x-api-key' or as 'authorization: Bearer …'")
        held = await unit.keys.get(id_in(key))
        is_right = held is not None and is_hash_of(held.hash, key, {b"", self._pepper})
        if held is None or not is_right or not administrators.is_in_force(held, unit.time):
            self._note_wrong(key)
            raise Unauthenticated("the API key is not known")
        self._wrong_keys.right(str(key))
        tenant = await unit.tenants.get(held.tenant)
        if tenant is None or tenant.frozen:
            raise Unauthenticated("the API key is not known")
        if self._on_use is not None:
            self._on_use(held.key_id)
        is_operator = administrators.is_operator(tenant)
        prefixes = _texts(tenant, "model_prefixes")
        return Caller(
            name=f"{tenant.name}/{held.key_id}",
            tenant=tenant.name,
            is_operator=is_operator,
            is_viewer=administrators.has_role(tenant, "viewer"),
            is_registrar=administrators.has_role(tenant, "registrar"),
            models=_texts(tenant, "models"),
            # Operators alone may register whatever they like unless something else is said.
            prefixes=prefixes if prefixes is not None else ("",) if is_operator else (),
        )

    def _note_wrong(self, key: str) -> None:
        peer = _peer(key)
        if self._wrong_keys.wrong(peer, str(key), time.monotonic()) and peer is not None:
            log.warning("wrong_keys_limit", address=network_of(peer), counted=self._wrong_keys.counted)

    async def _is_open(self, unit: Unit) -> bool:
        # While it is open every call looks anew: the first key closes it for the very next call, whichever controller made it.
        if self._is_closed:
            return False
        self._is_closed = await administrators.ever_was(unit)
        if not self._is_closed and not self._has_warned:
            self._has_warned = True
            log.warning("no_administrator", effect="everybody who reaches the controller may change the mesh")
        return not self._is_closed


def _texts(tenant: Tenant, setting: str) -> tuple[str, ...] | None:
    held = tenant.settings.get(setting)
    return tuple(str(one) for one in cast("list[object]", held)) if isinstance(held, list | tuple) else None


def _peer(key: str) -> str | None:
    return key.peer if isinstance(key, PresentedKey) else None
