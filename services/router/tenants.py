"""Who calls: API keys to tenants, from a TOML file that is read again when it changes, or from the bus.

    [[tenants]]
    name = "acme"
    requests_per_second = 500        # optional, like every limit
    rows_per_second = 20000
    burst_seconds = 1
    max_rows_in_flight = 4096
    models = ["digits", "fraud-*"]   # optional: all
    admin = false
    keys = ["sha256:<64 hexadecimal digits>"]

A key may be any text (contracts/api_keys.py has the shape of ours); only the SHA-256 of it is stored, for a key has 160 random bits or more
and no slow hash is needed.
With a pepper in the environment (PENSTOCK_KEY_PEPPER) entries are `hmac-sha256:…` under it. Until there is a tenants file or the first
key of any tenant, everybody is one and the same tenant without limits, and the log says so; closed once is closed for ever, for else the
last revocation would open everything to everybody.

Keys that were presented are remembered, so that a request costs one look-up; every change forgets all of them. On the bus every minute
does so too: who looks a key up anew notes that it is in use, and a request pays nothing for that.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from penstock.contracts.api_keys import key_parts
from penstock.contracts.errors import InvalidInput, TenantForbidden, Unauthenticated
from penstock.contracts.router_status import KeyUse
from penstock.contracts.tenant_records import KeyRecord
from services.chassis.presented_keys import PresentedKey
from services.chassis.wrong_keys import WrongKeys, network_of
from services.router.admission import Tenant, TenantPolicy
from services.router.key_uses import KeyUses, minute_of
from services.router.on_behalf import StepKey
from services.router.tenant_policies import Admitted, read_tenants

KNOWN_KEYS_LIMIT = 100_000
KNOWN_KEY_CHARACTERS = 128
"""Longest key that is remembered: an open server takes any key, and would remember megabytes of them."""

log = structlog.get_logger(__name__)


class Tenants:
    """Answers whose key it is."""

    def __init__(
        self,
        *,
        pepper: bytes = b"",
        wall_seconds: Callable[[], float] = time.time,
        require_keys: bool = False,
        wrong_keys: WrongKeys | None = None,
        environment: str = "",
    ) -> None:
        """Start open, where everybody is `anonymous`, unless keys are required from the start; `wrong_keys` ends guessing.

        Keys of other environments are refused where `environment` names one.
        """
        self.wrong_keys = wrong_keys or WrongKeys(0)
        self._environment = environment
        self.anonymous: Tenant | None = None if require_keys else Tenant(TenantPolicy(name="anonymous", is_admin=True))
        self.known: dict[str | None, Tenant] = {}
        self.expires_time: float | None = None
        """When the first of the keys that are remembered ends; None while none of them does."""
        self._pepper = pepper
        self._wall_seconds = wall_seconds
        self._keys: dict[str, tuple[Tenant, KeyRecord]] = {}
        self._in_force: dict[str, Admitted] = {}
        self._met: dict[str, Tenant] = {}
        self._uses = KeyUses()
        self._minute = 0.0
        self._forget()

    @property
    def count(self) -> int:
        """Number of tenants in force."""
        return len(self._in_force)

    @property
    def is_open(self) -> bool:
        """Whether anybody may call without a key."""
        return self.anonymous is not None

    def close(self) -> None:
        """Let nobody call without a key any more, for ever."""
        self.anonymous = None
        self._forget()

    def load(self, path: Path) -> None:
        """Take the tenants of a file; what a tenant has in flight stays counted.

        Raises:
            InvalidInput: the file is not valid; what was loaded before stays in force.
        """
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"tenants file: no UTF-8 text at byte {error.start}", reason="BAD_VALUE") from None
        tenants = read_tenants(text)
        self.close()
        for name in self._in_force.keys() - {one.policy.name for one in tenants}:
            self.put(name, None)
        for one in tenants:
            self.put(one.policy.name, one)

    def put(self, name: str, admitted: Admitted | None) -> None:
        """Admit a tenant as it stands now, or, without one, no more; what it has in flight stays counted, and its first key closes."""
        held = self._in_force.pop(name, None)
        tenant = self._met.get(name)
        for key in held.keys if held is not None else ():
            if (found := self._keys.get(key.hash)) is not None and found[0] is tenant:
                del self._keys[key.hash]
        if admitted is not None:
            if tenant is None:
                tenant = self._met[name] = Tenant(admitted.policy)
            elif tenant.policy != admitted.policy:
                tenant.adopt(admitted.policy)
            self._in_force[name] = admitted
            self.wrong_keys.keys_changed()
            for key in admitted.keys:
                self._keys[key.hash] = (tenant, key)
                self.anonymous = None
        self._forget()

    def policy(self, name: str) -> TenantPolicy | None:
        """Return the policy of a tenant in force."""
        held = self._in_force.get(name)
        return None if held is None else held.policy

    def forget_expired(self) -> None:
        """Forget what is remembered of keys as soon as one of them has expired; asked wherever `expires_time` is not None."""
        if self.expires_time is not None and self._wall_seconds() >= self.expires_time:
            self._forget()

    def used_keys(self) -> tuple[KeyUse, ...]:
        """Return some of the keys that were used lately, all in turn; the first call in a minute lets keys be looked up anew."""
        now = self._wall_seconds()
        if minute_of(now) != self._minute:
            self._minute = minute_of(now)
            self._forget()
        return self._uses.told(now)

    def of(self, key: str | None, peer: str | None = None) -> Tenant:
        """Return the tenant of a presented key; `peer` is the address that it came from, unless the key says that itself.

        Raises:
            Unauthenticated: no key where one is needed, or one that is unknown, revoked or expired.
            QuotaExceeded: too many wrong keys came from there, and this one is not known to be good.
            TenantForbidden: the tenant is frozen.
        """
        if isinstance(key, StepKey):
            return key.tenant
        self.forget_expired()
        tenant = self.known.get(key)
        if tenant is not None:
            return tenant
        if self.anonymous is not None:
            if len(self.known) < KNOWN_KEYS_LIMIT and len(key or "") <= KNOWN_KEY_CHARACTERS:
                self.known[None if key is None else str(key)] = self.anonymous
            return self.anonymous
        if key is None:
            raise Unauthenticated("an API key is needed: send it as 'x-api-key' or as 'authorization: Bearer …'")
        tenant, record = self._looked_up(str(key), key.peer if isinstance(key, PresentedKey) else peer)
        if record.key_id:
            self._uses.note(record.key_id, self._wall_seconds())
        if len(self.known) < KNOWN_KEYS_LIMIT:
            self.known[str(key)] = tenant
            if record.expires_time:
                self.expires_time = min(record.expires_time, self.expires_time or record.expires_time)
        return tenant

    def admin(self, key: str | None) -> Tenant:
        """Return the tenant of a key that may change the system.

        Raises:
            Unauthenticated, TenantForbidden: it may not.
        """
        tenant = self.of(key)
        if not tenant.policy.is_admin:
            raise TenantForbidden(f"tenant {tenant.policy.name!r} may call models but not change what is loaded")
        return tenant

    def all(self) -> Mapping[str, Tenant]:
        """Return the tenants by name."""
        return {name: self._met[name] for name in self._in_force} if self.anonymous is None else {"anonymous": self.anonymous}

    def _looked_up(self, key: str, peer: str | None) -> tuple[Tenant, KeyRecord]:
        now = time.monotonic()
        self.wrong_keys.check(peer, key, now)
        try:
            found = self._found(key)
        except Unauthenticated:
            if self.wrong_keys.wrong(peer, key, now) and peer is not None:
                log.warning("wrong_keys_limit", address=network_of(peer), counted=self.wrong_keys.counted)
            raise
        self.wrong_keys.right(key)
        return found

    def _check_environment(self, key: str) -> None:
        parts = key_parts(key) if self._environment else None
        if parts is not None and parts.environment not in {"", self._environment}:
            raise Unauthenticated(
                f"the API key is one of the environment {parts.environment!r}, this is {self._environment!r}",
                reason="KEY_OF_ANOTHER_ENVIRONMENT",
            )

    def _found(self, key: str) -> tuple[Tenant, KeyRecord]:
        self._check_environment(key)
        found = self._keys.get(f"sha256:{hashlib.sha256(key.encode()).hexdigest()}")
        if found is None and self._pepper:
            found = self._keys.get(f"hmac-sha256:{hmac.new(self._pepper, key.encode(), hashlib.sha256).hexdigest()}")
        if found is None:
            raise Unauthenticated("the API key is not known")
        tenant, record = found
        if record.expires_time and self._wall_seconds() >= record.expires_time:
            raise Unauthenticated("the API key has expired")
        name = tenant.policy.name
        if self._in_force[name].is_frozen:
            raise TenantForbidden(f"tenant {name!r} is frozen: its keys open nothing for now", reason="TENANT_FROZEN")
        return found

    def _forget(self) -> None:
        self.known = {} if self.anonymous is None else {None: self.anonymous}
        self.expires_time = None
