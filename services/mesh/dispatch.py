"""Sends chunks to workers and sees them through: choose → place → send → once more elsewhere.

`Dispatch` owns the links of this process. What no replica can answer by its deadline is refused before it is sent (door.py). A chunk whose
worker went silent or away is sent once to another replica, as far as the retry budget and its deadlines allow. A request that a worker
refused unexecuted goes elsewhere whether it is idempotent or not, within MAX_ATTEMPTS: within the budget when the replica is full, and
free when it is gone or drains, because nothing is ever sent to that replica again. Deadlines are enforced here too: a worker that says
nothing cannot hold a caller past its deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from random import Random

import structlog

from penstock.contracts.errors import DeadlineExceeded, ReplicaOverloaded, ServingError
from penstock.contracts.worker_status import WorkerStatus
from services.chassis.certificates import FollowedTls
from services.chassis.last_words import Casualties, mark_of, sender_of
from services.mesh import door, placement, tries
from services.mesh.candidates import candidates as candidates_of
from services.mesh.candidates import is_waking, new_lane, reachable
from services.mesh.chunk import Chunk
from services.mesh.dispatch_counters import DispatchCounters
from services.mesh.fleet import Fleet
from services.mesh.lane import Lane
from services.mesh.link import Link
from services.mesh.link_target import Targets
from services.mesh.quarantine import Quarantine, judge, unknown_casualties
from services.mesh.refusals import no_room, nobody
from services.mesh.retry_budget import RetryBudget
from services.mesh.route_table import Deployment, RouteTable
from services.mesh.tries import MAX_ATTEMPTS, backend_of
from services.mesh.waiting_room import WaitingRoom

SWEEP_SECONDS = 0.02
"""How often deadlines are looked at; an answer comes at most this late after its deadline."""

log = structlog.get_logger(__name__)


class Dispatch:
    """The way to the workers."""

    def __init__(
        self,
        table: RouteTable,
        *,
        router_id: str,
        clock: Callable[[], float],
        random: Random,
        tls: FollowedTls | None = None,
    ) -> None:
        """Keep the collaborators; `follow` is fed by the worker feed, `running` opens links."""
        self.counters = DispatchCounters()
        self._table = table
        self._clock = clock
        self._random = random
        self._budget = RetryBudget()
        targets = Targets(tls)
        self._fleet = Fleet(lambda status: Link(targets.of(status), self, router_id=router_id, clock=clock))
        self._links = self._fleet.links
        self._chunks: dict[int, Chunk] = {}
        self._homes: dict[int, Link] = {}
        self._next_chunk_id = 1
        self._on_change: list[Callable[[], None]] = []
        self._on_sweep: list[Callable[[float], object]] = []
        self._casualties: Callable[[str], Casualties | None] = unknown_casualties
        self._sender = sender_of(router_id)
        self._quarantine = Quarantine(lambda chunk: self._send_again(chunk, self._clock()), self._refuse)
        self._room = WaitingRoom(lambda chunk: self._send_again(chunk, self._clock()), self._is_worth_waiting)
        self.run_graphs: Callable[[Chunk], None] | None = None
        """Takes the chunks of graphs, which go to no worker; their deadlines are enforced here all the same."""

    def learn_of_crashes(self, casualties: Callable[[str], Casualties | None]) -> None:
        """Ask `casualties` what a lost worker, by its id, was executing when it crashed; without it nothing is known."""
        self._casualties = casualties

    # --- the fleet ---------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hold the links open and enforce deadlines until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._fleet.start(group, self._table.statuses())
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                self._sweep(self._clock())

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the table or a link changes."""
        self._on_change.append(listener)

    def on_sweep(self, listener: Callable[[float], object]) -> None:
        """Call `listener` with the time whenever deadlines are looked at."""
        self._on_sweep.append(listener)

    def follow(self, worker_id: str, status: WorkerStatus | None) -> None:
        """Take a worker's newest status: update the table, open the link of a new instance, close that of a gone one."""
        if not self._table.apply(worker_id, status):
            return
        self._fleet.follow(self._table.statuses())
        self._changed()

    def _changed(self) -> None:
        for listener in self._on_change:
            listener()

    def can_serve(self, deployment: Deployment) -> bool:
        """Whether any replica of it can be reached now."""
        return deployment.graph is not None or any(link.is_up for link, _ in reachable(self._links, deployment))

    @property
    def links(self) -> Sequence[Link]:
        """The links, for status and metrics."""
        return list(self._links.values())

    # --- sending -----------------------------------------------------------------------------------------------------------------

    def send(self, chunk: Chunk, deployment: Deployment, now: float) -> None:
        """Place a sealed chunk; `flush` sends it. What cannot be placed is refused at once."""
        if deployment.graph is None:
            self._budget.count(chunk.left, now)
            self.counters.sent_requests += chunk.left
        self._place(chunk, deployment, now)

    def wait(self, chunk: Chunk, positions: Sequence[int]) -> Sequence[int]:
        """Hold requests that nobody can answer while a worker that could is only silent; return the positions for which there is none."""
        if not self._is_worth_waiting(chunk):
            return positions
        self._room.add(chunk.part(positions))
        return ()

    def _is_worth_waiting(self, chunk: Chunk) -> bool:
        deployment = self._table.newest(chunk.context.deployment)
        return not candidates_of(self._links, deployment) and is_waking(self._links, deployment)

    def flush(self) -> None:
        """Send what was placed since the last flush, one frame a worker."""
        for link in self._links.values():
            link.flush()

    def cancel(self, chunk: Chunk, position: int) -> bool:
        """Release a request whose caller left; False when it was released before."""
        if not chunk.take(position):
            return False
        self._take_back(chunk, position)
        return True

    def in_flight(self) -> Iterator[Chunk]:
        """Yield the chunks that have unanswered requests, oldest first."""
        for chunk_id in [chunk_id for chunk_id, chunk in self._chunks.items() if not chunk.left]:
            del self._chunks[chunk_id]
            self._homes.pop(chunk_id, None)
        return iter([*self._chunks.values(), *self._quarantine.waiting, *self._room.chunks])

    def _place(self, chunk: Chunk, deployment: Deployment, now: float, *, avoid: Link | None = None) -> None:
        if deployment.graph is not None and deployment.replicas and self.run_graphs is not None:
            self._number(chunk)
            self.run_graphs(chunk)
            return
        candidates = candidates_of(self._links, deployment)
        if avoid is not None:
            candidates = [pair for pair in candidates if pair[0] is not avoid]
        link = placement.choose([link for link, _ in candidates if not link.is_clogged], chunk.rows_left, self._random)
        if link is None:
            self._refuse(chunk, no_room(deployment) if candidates or avoid is not None else nobody(deployment))
            return
        replica_id = next(replica_id for candidate, replica_id in candidates if candidate is link)
        lane = self._lane(link, replica_id, deployment)
        if door.is_pressed(chunk, lane, now):
            self._sift(chunk, candidates, deployment, now)
        else:
            self._enter(chunk, link, replica_id, now)

    def _enter(self, chunk: Chunk, link: Link, replica_id: int, now: float) -> None:
        self._number(chunk)
        chunk.replica_id = replica_id
        chunk.attempts += 1
        chunk.try_until = tries.ends_at(backend_of(self._table, chunk.context.deployment), now)
        self._homes[chunk.chunk_id] = link
        link.place(chunk, self._lane(link, replica_id, chunk.context.deployment), now)

    def _lane(self, link: Link, replica_id: int, deployment: Deployment) -> Lane:
        return link.lanes.get(replica_id) or new_lane(self._table, link, replica_id, deployment)

    def _number(self, chunk: Chunk) -> None:
        chunk.chunk_id = self._next_chunk_id
        self._next_chunk_id += 1
        self._chunks[chunk.chunk_id] = chunk

    def _sift(self, chunk: Chunk, candidates: Sequence[tuple[Link, int]], deployment: Deployment, now: float) -> None:
        """Send what can be answered in time, to the soonest replicas first, and refuse the rest."""
        lanes = [(self._lane(link, replica_id, deployment), link, replica_id) for link, replica_id in candidates if not link.is_clogged]
        lanes.sort(key=lambda one: one[0].seconds(one[0].rows, 1, now))
        for lane, link, replica_id in lanes:
            door.count_shares(lane, link.open.values(), now)
            part = door.split(chunk, placement.within_credit(link, door.fitting(chunk, lane, now), chunk.template.rows))
            if part is not None:
                self._enter(part, link, replica_id, now)
            if part is chunk or not chunk.left:
                return
        for lane, _, _ in lanes:
            door.note_refusal(lane, now)
        self.counters.shed_requests += chunk.left
        self._refuse(chunk, door.refusal(chunk, lanes[0][0], now))

    def _refuse(self, chunk: Chunk, error: ServingError) -> None:
        positions = [position for position in chunk.open_positions() if chunk.take(position)]
        if positions:
            chunk.sink.failed(chunk, positions, error)

    def _take_back(self, chunk: Chunk, position: int) -> None:
        link = self._homes.get(chunk.chunk_id)
        if link is not None and link.open.get(chunk.chunk_id) is chunk:
            link.take_back(chunk, position)

    # --- what links report -------------------------------------------------------------------------------------------------------

    def link_changed(self, link: Link) -> None:
        """Note that a link went up, down or began to drain."""
        self._table.reach(link.target.instance_id, is_lost=link.is_lost)
        self._changed()

    def has_others(self, link: Link) -> bool:
        """Whether any other worker speaks."""
        return any(other.is_up and other.silence.is_fresh for other in self._links.values() if other is not link)

    def link_lost(self, link: Link, chunks: list[Chunk]) -> None:
        """Send the unanswered requests of a lost link once more, elsewhere."""
        self.counters.links_lost += 1
        now, lost = self._clock(), self._casualties(link.target.worker_id) if chunks else None
        for chunk in chunks:
            most, error = judge(chunk, mark_of(self._sender, chunk.chunk_id), lost)
            self._retry(chunk, error, now, most=tries.capped(most, backend_of(self._table, chunk.context.deployment)))
        self.flush()

    def not_executed(self, chunk: Chunk, positions: list[int], error: ServingError) -> None:
        """Send requests that were refused unexecuted to another replica; one that takes nothing any more is never asked again."""
        link, now, is_full = self._homes.get(chunk.chunk_id), self._clock(), isinstance(error, ReplicaOverloaded)
        again = chunk.part(positions)
        again.attempts -= 1
        again.refusals += 1
        if link is not None and not is_full and self._table.give_up(link.target.instance_id, chunk.replica_id):
            self._changed()
        if again.refusals >= MAX_ATTEMPTS:
            self._refuse_again(again, error)
        elif is_full and not self._budget.take(again.left, now):
            self._refuse_again(again, no_room(chunk.context.deployment))
        else:
            self._send_again(again, now, avoid=link if is_full else None)
        self.flush()

    def _retry(self, chunk: Chunk, error: ServingError, now: float, *, most: int) -> None:
        again = chunk.part(chunk.open_positions()) if chunk.left != chunk.size else chunk
        if not (again.attempts < most and again.is_idempotent and self._budget.take(again.left, now)):
            self._refuse_again(again, error)
        elif again.deaths:
            self._quarantine.add(again)
        else:
            self._send_again(again, now)

    def _refuse_again(self, chunk: Chunk, error: ServingError) -> None:
        self.counters.retries_refused += chunk.left
        self._refuse(chunk, error)

    def _send_again(self, chunk: Chunk, now: float, *, avoid: Link | None = None) -> None:
        self.counters.retried_requests += chunk.left
        self._place(chunk, self._table.newest(chunk.context.deployment), now, avoid=avoid)

    # --- deadlines ---------------------------------------------------------------------------------------------------------------

    def _sweep(self, now: float) -> None:
        for listener in self._on_sweep:
            listener(now)
        self._quarantine.release(now)
        self._room.release()
        for chunk in self.in_flight():
            if chunk.earliest_deadline <= now:
                # One by one: the link forgets the chunk with the last of them, and takes no rows back for what it does not know.
                positions = [position for position in chunk.expired_positions(now) if self.cancel(chunk, position)]
                if positions:
                    self.counters.expired_requests += len(positions)
                    chunk.sink.failed(chunk, positions, DeadlineExceeded("the deadline passed before the worker answered"))
            if chunk.try_until <= now and chunk.left:
                self._end_try(chunk, now)
        self.flush()

    def _end_try(self, chunk: Chunk, now: float) -> None:
        """Cancel a try that took too long; its requests go to another worker, or are refused."""
        home, deployment = self._homes.get(chunk.chunk_id), chunk.context.deployment
        again = chunk.part([position for position in chunk.open_positions() if self.cancel(chunk, position)])
        self.counters.timed_out_tries += again.left
        others = any(link is not home for link, _ in candidates_of(self._links, deployment))
        is_left = others and again.is_idempotent and again.attempts < tries.most(backend_of(self._table, deployment))
        if is_left and self._budget.take(again.left, now):
            self._send_again(again, now, avoid=home)
        else:
            self._refuse_again(again, tries.took_too_long(deployment))
