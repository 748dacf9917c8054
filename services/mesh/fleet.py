"""The links of this process: one to every worker instance that a status names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from penstock.contracts.worker_status import WorkerStatus
from services.mesh.link import Link


class Fleet:
    """Opens the link of a new instance and closes that of a gone one."""

    def __init__(self, make_link: Callable[[WorkerStatus], Link]) -> None:
        """Keep how a link is made; none runs before `start`."""
        self.links: dict[str, Link] = {}
        """By instance id."""
        self._make_link = make_link
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def start(self, group: asyncio.TaskGroup, statuses: Mapping[str, WorkerStatus]) -> None:
        """Run links in `group` from now on, beginning with those of `statuses`."""
        self._group = group
        self.follow(statuses)

    def follow(self, statuses: Mapping[str, WorkerStatus]) -> None:
        """Hold links to exactly these workers; `statuses` are by worker id."""
        wanted = {one.instance_id: one for one in statuses.values()}
        for instance_id in [held for held in self.links if held not in wanted]:
            self._close(instance_id)
        if self._group is None:
            return
        for instance_id, status in wanted.items():
            if instance_id not in self.links:
                self.links[instance_id] = link = self._make_link(status)
                self._tasks[instance_id] = self._group.create_task(link.run(), name=f"link-{status.worker_id}")

    def _close(self, instance_id: str) -> None:
        del self.links[instance_id]
        task = self._tasks.pop(instance_id, None)
        if task is not None:
            task.cancel()
