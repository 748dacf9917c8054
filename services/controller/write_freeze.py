"""The freeze of all writes, as those meet it whose change is refused: who froze them, since when, why, and what to do now."""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.contracts.errors import Conflict
from services.controller.ledger_values import DONE, AuditQuery, AuditRecord
from services.controller.ports import Unit

WRITES_FROZEN = "writes_frozen"
"""Setting that stops every change but emergencies."""

LONGEST_WHY = 300
PAGE_RECORDS = 50


async def is_frozen(unit: Unit) -> bool:
    """Return whether writes are frozen."""
    setting = await unit.settings.get(WRITES_FROZEN)
    return setting is not None and bool(setting.value)


async def check_not_frozen(unit: Unit) -> None:
    """Refuse a change that is no emergency while writes are frozen.

    Raises:
        Conflict: they are.
    """
    if await is_frozen(unit):
        raise Conflict(
            f"{_words(await _freeze(unit))}: rollbacks, kill switches, freezes and revocations still work; "
            "`penstock freeze --writes --off` (PUT /api/v1/freeze) lets changes through again",
            reason="WRITES_FROZEN",
        )


def _words(freeze: AuditRecord | None) -> str:
    if freeze is None:
        return "all writes are frozen"
    since = datetime.fromtimestamp(freeze.time, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
    why = repr(freeze.why[:LONGEST_WHY]) if freeze.why else "who gave no reason"
    return f"all writes are frozen since {since}Z by {freeze.actor}, {why}"


async def _freeze(unit: Unit) -> AuditRecord | None:
    """Return the record of the change that froze them; the refused ones after it are passed over."""
    before: int | None = None
    while records := await unit.audit.matching(AuditQuery(subject=f"setting/{WRITES_FROZEN}", before=before, limit=PAGE_RECORDS)):
        for record in records:
            if record.outcome == DONE:
                return record
        before = records[-1].number
    return None
