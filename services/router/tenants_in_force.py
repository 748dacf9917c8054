"""The tenants that this router goes by, where they come by the bus.

A record takes effect when it is told, for the next request: keys that it revokes, and all keys of a tenant that it freezes, open nothing
any more. Settings that this router cannot read must not hold that up: its keys change, and the tenant keeps the rights it had, or gets
none where it had none.

The first record that names a key, be it revoked since, closes the router for ever. A mark in the state folder outlives the process: a
router that comes back while the bus is away, or whose topic was lost, does not open.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from penstock.contracts.errors import InvalidInput
from penstock.contracts.tenant_records import TenantRecord
from services.router.admission import TenantPolicy
from services.router.tenant_policies import Admitted, admitted, number_of
from services.router.tenants import Tenants

log = structlog.get_logger(__name__)


class TenantsInForce:
    """Puts records of tenants in force."""

    def __init__(self, tenants: Tenants, mark: Path | None = None) -> None:
        """Keep where tenants are looked up, and the file that says that there was a key once."""
        self.tenants = tenants
        self.applied = 0
        """How many changes were put in force."""
        self.unreadable = 0
        """How many of them had settings that could not be read."""
        self._mark = mark
        self._is_marked = False

    def recall(self) -> None:
        """Close the router when the mark says that there was a key once."""
        self._is_marked = self._mark is not None and self._mark.exists()
        if self._is_marked:
            self.tenants.close()

    def apply(self, name: str, record: TenantRecord | None) -> None:
        """Put a record in force that supersedes the one held; without one the tenant is gone."""
        if record is not None and record.tenant != name:
            log.error("tenant_of_another_name", key=name, tenant=record.tenant)
            return
        if record is not None and record.keys:
            self._close()
        self.tenants.put(name, None if record is None else self._admitted(record))
        self.applied += 1

    def count(self) -> int:
        """Return the number of tenants in force."""
        return self.tenants.count

    def warn_if_open(self) -> None:
        """Say in the log when everybody may call."""
        if self.tenants.is_open:
            log.warning("no_keys", effect="until the first key is made, everybody who reaches the ports may call and load every model")

    def _close(self) -> None:
        self.tenants.close()
        if self._mark is None or self._is_marked:
            return
        try:
            self._mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._mark.touch()
        except OSError as error:
            log.error("closed_mark_not_written", path=str(self._mark), reason=str(error))  # noqa: TRY400 - the disk's fault, no trace
        else:
            self._is_marked = True

    def _admitted(self, record: TenantRecord) -> Admitted:
        try:
            return admitted(record)
        except InvalidInput as error:
            self.unreadable += 1
            log.error("tenant_settings_unreadable", tenant=record.tenant, reason=error.message)  # noqa: TRY400 - a person's mistake, no trace
        policy = self.tenants.policy(record.tenant)
        if policy is None:
            policy = TenantPolicy(name=record.tenant, number=number_of(record.tenant), models=())
        return Admitted(policy=policy, keys=tuple(key for key in record.keys if not key.revoked), is_frozen=record.frozen)
