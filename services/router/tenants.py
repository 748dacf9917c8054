"""Who calls: API keys to tenants, from a TOML file that is read again when it changes.

    [[tenants]]
    name = "acme"
    requests_per_second = 500        # optional, like every limit
    rows_per_second = 20000
    burst_seconds = 1
    max_rows_in_flight = 4096
    models = ["digits", "fraud-*"]   # optional: all
    admin = false
    keys = ["sha256:<64 hexadecimal digits>"]

A key is `penstock_<32 characters>`; only the SHA-256 of it is stored (a key has 160 random bits, so no slow hash is needed). With a
pepper in the environment (PENSTOCK_KEY_PEPPER) entries are `hmac-sha256:…` under it. Without a file everybody is one and the same
tenant without limits, and the start-up log says so.
"""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.contracts.errors import InvalidInput, TenantForbidden, Unauthenticated
from services.router.admission import Tenant, TenantPolicy

KNOWN_KEYS_LIMIT = 100_000
KNOWN_KEY_CHARACTERS = 128
"""Longest key that is remembered: an open server takes any key, and would remember megabytes of them."""
TENANT_FIELDS = frozenset(
    {"name", "requests_per_second", "rows_per_second", "burst_seconds", "max_rows_in_flight", "models", "admin", "keys"}
)


class Tenants:
    """Answers whose key it is."""

    def __init__(self, *, pepper: bytes = b"") -> None:
        """Start open: without tenants everybody is `anonymous`."""
        self.anonymous: Tenant | None = Tenant(TenantPolicy(name="anonymous", is_admin=True))
        self.known: dict[str | None, Tenant] = {None: self.anonymous}
        self._pepper = pepper
        self._by_hash: dict[str, Tenant] = {}
        self._by_name: dict[str, Tenant] = {}

    @property
    def is_open(self) -> bool:
        """Whether anybody may call without a key."""
        return self.anonymous is not None

    def load(self, path: Path) -> None:
        """Take the tenants of a file; what a tenant has in flight stays counted.

        Raises:
            InvalidInput: the file is not valid; what was loaded before stays in force.
        """
        policies = read_tenants(path.read_text())
        by_hash: dict[str, Tenant] = {}
        by_name: dict[str, Tenant] = {}
        for policy, hashes in policies:
            tenant = self._by_name.get(policy.name) or Tenant(policy)
            if tenant.policy != policy:
                tenant.adopt(policy)
            by_name[policy.name] = tenant
            by_hash.update(dict.fromkeys(hashes, tenant))
        self._by_hash, self._by_name = by_hash, by_name
        self.anonymous = None
        self.known = {}

    def of(self, key: str | None) -> Tenant:
        """Return the tenant of a presented key.

        Raises:
            Unauthenticated: no key where one is needed, or an unknown one.
        """
        tenant = self.known.get(key)
        if tenant is not None:
            return tenant
        if self.anonymous is not None:
            if len(self.known) < KNOWN_KEYS_LIMIT and len(key or "") <= KNOWN_KEY_CHARACTERS:
                self.known[key] = self.anonymous
            return self.anonymous
        if key is None:
            raise Unauthenticated("an API key is needed: send it as 'x-api-key' or as 'authorization: Bearer …'")
        tenant = self._by_hash.get(f"sha256:{hashlib.sha256(key.encode()).hexdigest()}")
        if tenant is None and self._pepper:
            tenant = self._by_hash.get(f"hmac-sha256:{hmac.new(self._pepper, key.encode(), hashlib.sha256).hexdigest()}")
        if tenant is None:
            raise Unauthenticated("the API key is not known")
        if len(self.known) < KNOWN_KEYS_LIMIT:
            self.known[key] = tenant
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
        return self._by_name if self.anonymous is None else {"anonymous": self.anonymous}


def read_tenants(text: str) -> list[tuple[TenantPolicy, list[str]]]:
    """Return the policies of a tenants file with the hashes of their keys.

    Raises:
        InvalidInput: what is wrong, and where.
    """
    try:
        tables: list[dict[str, Any]] = tomllib.loads(text).get("tenants", [])
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"tenants file: {error}", reason="BAD_VALUE") from None
    policies = [_policy(table, number) for number, table in enumerate(tables, start=1)]
    names = [policy.name for policy, _ in policies]
    if not names or len(set(names)) != len(names):
        raise InvalidInput("tenants file: at least one [[tenants]] table is needed, and names must differ", reason="BAD_VALUE")
    return policies


def _policy(table: dict[str, Any], number: int) -> tuple[TenantPolicy, list[str]]:
    where = f"tenants file, table {number}"
    unknown = set(table) - TENANT_FIELDS
    if unknown:
        raise InvalidInput(f"{where}: unknown field {min(unknown)!r}; known: {', '.join(sorted(TENANT_FIELDS))}", reason="BAD_VALUE")
    name, keys = table.get("name"), table.get("keys", [])
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{where}: 'name' must be a text", reason="BAD_VALUE")
    limits: dict[str, float] = {}
    for field in ("requests_per_second", "rows_per_second", "burst_seconds", "max_rows_in_flight"):
        if field in table:
            value = table[field]
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InvalidInput(f"{where}: {field!r} must be a number above 0, not {value!r}", reason="BAD_VALUE")
            limits[field] = float(value)
    if not isinstance(keys, list) or not all(isinstance(key, str) and _is_hash(key) for key in keys):  # pyright: ignore[reportUnknownVariableType]
        raise InvalidInput(f"{where}: 'keys' holds hashes like 'sha256:<64 hex digits>' (penstock keys create)", reason="BAD_VALUE")
    models = table.get("models")
    if models is not None and not (isinstance(models, list) and all(isinstance(one, str) for one in models)):  # pyright: ignore[reportUnknownVariableType]
        raise InvalidInput(f"{where}: 'models' must be a list of names or patterns", reason="BAD_VALUE")
    if not isinstance(table.get("admin", False), bool):
        raise InvalidInput(f"{where}: 'admin' must be true or false", reason="BAD_VALUE")
    return TenantPolicy(
        name=name,
        number=number,
        models=None if models is None else tuple(models),  # pyright: ignore[reportUnknownArgumentType]
        is_admin=table.get("admin", False),
        **limits,
    ), keys


def _is_hash(key: str) -> bool:
    kind, _, digits = key.partition(":")
    return kind in {"sha256", "hmac-sha256"} and len(digits) == 64 and all(digit in "0123456789abcdef" for digit in digits)
