"""What a tenant may do, read from a tenants file or from a record of the bus: one vocabulary. Pure."""

from __future__ import annotations

import json
import tomllib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from penstock.contracts.errors import InvalidInput
from penstock.contracts.tenant_records import KeyRecord, TenantRecord
from services.router.admission import TenantPolicy

LIMITS = ("requests_per_second", "rows_per_second", "burst_seconds", "max_rows_in_flight")
TENANT_FIELDS = frozenset({"name", *LIMITS, "models", "admin", "keys"})
RECORD_FIELDS = frozenset({*LIMITS, "models", "model_prefixes", "admin", "roles"})
OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A tenant as it is to be admitted."""

    policy: TenantPolicy
    keys: tuple[KeyRecord, ...]
    """The keys that open, or opened until they expired."""
    is_frozen: bool = False


def admitted(record: TenantRecord) -> Admitted:
    """Return the tenant of a record; revoked keys open nothing.

    Raises:
        InvalidInput: settings that this router cannot keep.
    """
    keys = tuple(key for key in record.keys if not key.revoked)
    return Admitted(policy=record_policy(record), keys=keys, is_frozen=record.frozen)


def record_policy(record: TenantRecord) -> TenantPolicy:
    """Return the policy that the settings of a record mean.

    Raises:
        InvalidInput: settings that this router cannot keep.
    """
    where = f"settings of tenant {record.tenant!r}"
    try:
        settings: object = json.loads(record.settings_json or "{}")
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}", reason="BAD_VALUE") from None
    if not isinstance(settings, dict):
        raise InvalidInput(f"{where}: must be a JSON object", reason="BAD_VALUE")
    table = cast("dict[str, Any]", settings)
    _check_fields(where, table, RECORD_FIELDS)
    roles = _texts(where, table, "roles") or ()
    return _policy(where, record.tenant, number_of(record.tenant), table, is_operator=OPERATOR in roles)


def number_of(name: str) -> int:
    """Return a tenant's number on the worker link: the same in every router, and never 0, which is everybody's."""
    return zlib.crc32(name.encode()) or 1


def read_tenants(text: str) -> list[Admitted]:
    """Return the tenants of a file.

    Raises:
        InvalidInput: what is wrong, and where.
    """
    try:
        file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"tenants file: {error}", reason="BAD_VALUE") from None
    tenants = [_table(table, number) for number, table in enumerate(_tables(file), start=1)]
    names = [tenant.policy.name for tenant in tenants]
    if not names or len(set(names)) != len(names):
        raise InvalidInput("tenants file: at least one [[tenants]] table is needed, and names must differ", reason="BAD_VALUE")
    _check_keys(tenants)
    return tenants


def _tables(file: dict[str, Any]) -> list[dict[str, Any]]:
    _check_fields("tenants file", file, frozenset({"tenants"}))
    tables = file.get("tenants", [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in cast("list[object]", tables)):
        raise InvalidInput("tenants file: each tenant is a table of its own, under [[tenants]]", reason="BAD_VALUE")
    return cast("list[dict[str, Any]]", tables)


def _check_keys(tenants: list[Admitted]) -> None:
    owners: dict[str, str] = {}
    for tenant in tenants:
        name = tenant.policy.name
        for key in tenant.keys:
            if (owner := owners.setdefault(key.hash, name)) != name:
                raise InvalidInput(f"tenants file: {owner!r} and {name!r} have a key in common; a key is one tenant's", reason="BAD_VALUE")


def _table(table: dict[str, Any], number: int) -> Admitted:
    where = f"tenants file, table {number}"
    _check_fields(where, table, TENANT_FIELDS)
    name, keys = table.get("name"), table.get("keys", [])
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{where}: 'name' must be a text", reason="BAD_VALUE")
    if not isinstance(keys, list) or not all(isinstance(key, str) and _is_hash(key) for key in cast("list[object]", keys)):
        raise InvalidInput(f"{where}: 'keys' holds hashes like 'sha256:<64 hex digits>' (penstock keys create)", reason="BAD_VALUE")
    hashes = cast("list[str]", keys)
    return Admitted(policy=_policy(where, name, number, table), keys=tuple(KeyRecord(key_id="", hash=one) for one in hashes))


def _policy(where: str, name: str, number: int, table: dict[str, Any], *, is_operator: bool = False) -> TenantPolicy:
    limits: dict[str, float] = {}
    for field in LIMITS:
        if field in table:
            value = table[field]
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InvalidInput(f"{where}: {field!r} must be a number above 0, not {value!r}", reason="BAD_VALUE")
            limits[field] = float(value)
    if not isinstance(table.get("admin", False), bool):
        raise InvalidInput(f"{where}: 'admin' must be true or false", reason="BAD_VALUE")
    models = _texts(where, table, "models")
    return TenantPolicy(name=name, number=number, models=models, is_admin=table.get("admin", False) or is_operator, **limits)


def _texts(where: str, table: dict[str, Any], field: str) -> tuple[str, ...] | None:
    texts = table.get(field)
    if texts is None:
        return None
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in cast("list[object]", texts)):
        raise InvalidInput(f"{where}: {field!r} must be a list of names or patterns", reason="BAD_VALUE")
    return tuple(cast("list[str]", texts))


def _check_fields(where: str, table: Iterable[str], known: frozenset[str]) -> None:
    unknown = set(table) - known
    if unknown:
        raise InvalidInput(f"{where}: unknown field {min(unknown)!r}; known: {', '.join(sorted(known))}", reason="BAD_VALUE")


def _is_hash(key: str) -> bool:
    kind, _, digits = key.partition(":")
    return kind in {"sha256", "hmac-sha256"} and len(digits) == 64 and all(digit in "0123456789abcdef" for digit in digits)
