"""The tenants that this router goes by, where they come by the bus.

A record takes effect when it is told, for the next request: keys that it revokes, and all keys of a tenant that it freezes, open nothing
any more. Settings that this router cannot read must not hold that up: its keys change, and the tenant keeps the rights it had, or gets
none where it had none.
"""

from __future__ import annotations

import structlog

from penstock.contracts.errors import InvalidInput
from penstock.contracts.tenant_records import TenantRecord
from services.router.admission import TenantPolicy
from services.router.tenant_policies import Admitted, admitted, number_of
from services.router.tenants import Tenants

log = structlog.get_logger(__name__)


class TenantsInForce:
    """Puts records of tenants in force."""

    def __init__(self, tenants: Tenants) -> None:
        """Keep where tenants are looked up."""
        self.tenants = tenants
        self.applied = 0
        """How many changes were put in force."""
        self.unreadable = 0
        """How many of them had settings that could not be read."""

    def apply(self, name: str, record: TenantRecord | None) -> None:
        """Put a record in force that supersedes the one held; without one the tenant is gone."""
        if record is not None and record.tenant != name:
            log.error("tenant_of_another_name", key=name, tenant=record.tenant)
            return
        was_open = self.tenants.is_open
        self.tenants.put(name, None if record is None else self._admitted(record))
        self.applied += 1
        if self.tenants.is_open and not was_open:
            self.warn_if_open()

    def count(self) -> int:
        """Return the number of tenants in force."""
        return 0 if self.tenants.is_open else len(self.tenants.all())

    def warn_if_open(self) -> None:
        """Say in the log when everybody may call."""
        if self.tenants.is_open:
            log.warning("no_tenants", effect="everybody who reaches the ports may call and load every model")

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
