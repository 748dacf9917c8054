"""Settings of the whole platform; the one that matters most stops every write but emergencies."""

from __future__ import annotations

from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing, check_revision
from services.controller.tenant_values import Setting
from services.controller.write_freeze import WRITES_FROZEN


class PlatformSettings:
    """Changes settings."""

    def __init__(self, changes: Changes) -> None:
        """Keep the way to write."""
        self._changes = changes

    async def freeze_writes(self, *, frozen: bool, intent: Intent) -> Outcome[Setting]:
        """Refuse every change but rollbacks, kill switches, freezes and revocations; or take changes again."""
        return await self.set(WRITES_FROZEN, frozen, intent)

    async def set(self, name: str, value: object, intent: Intent) -> Outcome[Setting]:
        """Give a setting a value, a JSON document.

        Raises:
            Conflict: the revision is stale, or writes are frozen.
        """

        async def work(writing: Writing) -> Made[Setting]:
            held = await writing.unit.settings.get(name)
            check_revision(intent, held.revision if held else 0, held)
            if held is not None and held.value == value:
                return Made(value=held, before=value, after=value)
            new = Setting(name=name, value=value, revision=(held.revision if held else 0) + 1, changed_time=writing.time)
            await writing.unit.settings.put(new)
            return Made(value=new, before=held, after=new, revision=new.revision)

        command = Command(
            action="setting.set", answer=Setting, subject=f"setting/{name}", request=value, is_emergency=name == WRITES_FROZEN
        )
        return await self._changes.make(intent, command, work)
