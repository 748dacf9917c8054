"""Decides which worker holds which deployment. Pure: what is wanted and what is there go in, a plan with its reasons comes out.

    1  what stands where it may stand stays: nothing moves without a cause
    2  what is missing goes to the worker with the most room, serving deployments first, reserved ones next, then what somebody asked
       for although no route names it, idle ones last
    3  where there is no room, idle deployments leave, the one that was used longest ago first; reserved ones never do
    4  what has to leave a worker (it drains, it is full, there are too many) stays, draining, until its replacements are ready
    5  what failed on a worker stays assigned there, for the worker to try again, and another worker stands in
    6  a changed configuration goes to one worker after the other, and on only when the one before is ready with it: a worker loads it
       beside what serves, and where there is no room for both another worker takes the place; where it fails, what serves stays

The memory of a worker is never promised twice: a replica that drains counts until it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from penstock.contracts.assignments import Holding
from services.controller.placement_site import Site, assigned, evictions, note_former
from services.controller.placement_values import Action, Condition, Placement, Plan, Purpose, Wanted, WorkerView

DRAIN_SECONDS = 2.0
"""How long a deleted deployment stays loaded: until every router has read the route without it."""


def plan_placement(wanted: Sequence[Wanted], workers: Sequence[WorkerView], *, now: float) -> Plan:
    """Return what every worker is to hold.

    Args:
        wanted: deployments in any order.
        workers: those that live, the draining ones included.
        now: seconds since the Unix epoch.
    """
    drawing = _Drawing(workers)
    ordered = sorted(wanted, key=lambda each: (each.purpose, -each.used_time if each.purpose is Purpose.IDLE else 0, each.deployment_id))
    for each in ordered:
        drawing.keep(each, now)
    wishes = [each for each in ordered if each.purpose is not Purpose.DRAIN]
    for each in wishes:
        drawing.roll(each)
    for each in wishes:
        drawing.fill(each)
    for each in ordered:
        drawing.let_go(each)
    return drawing.plan(ordered)


class _Drawing:
    """A plan in the making."""

    def __init__(self, workers: Iterable[WorkerView]) -> None:
        self._sites = [Site(view) for view in sorted(workers, key=lambda view: view.worker_id)]
        self._nowhere: list[Placement] = []
        # By deployment, and in the order of the workers: of a thousand models each stands on a few of many workers.
        self._at: dict[str, list[Site]] = {}
        for site in self._sites:
            for name in site.given:
                self._at.setdefault(name, []).append(site)

    def keep(self, wanted: Wanted, now: float) -> None:
        """Leave replicas where they are; those that cannot stay are to leave."""
        there = self._sites_of(wanted)
        for site in there:
            note_former(site, wanted)
        if wanted.purpose is Purpose.DRAIN:
            for site in there:
                self._drain(site, wanted, now)
            return
        for site in sorted(there, key=lambda site: _worth(site, wanted)):
            count = sum(wanted.deployment_id in other.held for other in there)
            why = _cause_to_leave(site, wanted, count)
            has_failed = site.condition(wanted) is Condition.FAILED and wanted.deployment_id not in site.former
            if not site.view.draining and has_failed:
                placement = _placed(wanted, site, Action.KEEP, "it failed there: the worker tries again, others stand in")
                site.failed[wanted.deployment_id] = wanted, placement
            elif why:
                site.leaving[wanted.deployment_id] = wanted, _placed(wanted, site, Action.DRAIN, why)
            else:
                site.held[wanted.deployment_id] = wanted, _placed(wanted, site, *_kept(wanted))

    def roll(self, wanted: Wanted) -> None:
        """Have the next worker change to what is wanted now, if the ones before are through."""
        name, there = wanted.deployment_id, self._sites_of(wanted)
        stale = [site for site in there if name in site.held and name in site.former]
        for site in stale:
            if not site.serves(wanted):
                _change(site, wanted, "nothing serves there yet")
        fresh = [site for site in there if name in site.held and name not in site.former]
        is_ready = any(site.condition(wanted) is Condition.READY for site in fresh)
        is_coming = any(site.condition(wanted) is not Condition.READY for site in fresh)
        has_failed = any(name in site.failed for site in there)
        left = [site for site in stale if name in site.former]
        if not left or is_coming or (has_failed and not is_ready):
            return
        # One that failed to change to something else loses least.
        site = min(left, key=lambda site: (site.condition(wanted) is Condition.READY, site.view.worker_id))
        if site.room >= wanted.memory_bytes:
            site.twice.add(name)
            _change(site, wanted, "its configuration has changed")
        elif self._roomiest(wanted, [other for other in self._sites if other.may_hold(wanted)]):
            del site.held[name]
            reason = "its configuration has changed, and there is no room for both: another worker takes its place"
            site.leaving[name] = wanted, _placed(wanted, site, Action.DRAIN, reason)
        else:
            reason = f"its configuration has changed, and no worker has {_size(wanted.memory_bytes)} to load it beside what serves"
            self._nowhere.append(_placed(wanted, None, Action.UNSCHEDULABLE, reason))

    def fill(self, wanted: Wanted) -> None:
        """Find workers for the replicas that are missing."""
        for _ in range(wanted.replicas - sum(wanted.deployment_id in site.held for site in self._sites_of(wanted))):
            candidates = [site for site in self._sites if site.may_hold(wanted)]
            site = self._roomiest(wanted, candidates) or self._make_room(wanted, candidates)
            if site is None:
                self._nowhere.append(_placed(wanted, None, Action.UNSCHEDULABLE, self._why_not(wanted, candidates)))
                continue
            action = Action.LOAD if wanted.purpose in (Purpose.SERVE, Purpose.ASKED) else Action.STANDBY
            site.held[wanted.deployment_id] = wanted, _placed(wanted, site, action, f"most room: {_size(site.room)} before it")
            self._note_site(wanted, site)

    def let_go(self, wanted: Wanted) -> None:
        """Unload what leaves once enough others are ready, or where it does not run anyway."""
        if wanted.purpose is Purpose.DRAIN:
            return
        there = self._sites_of(wanted)
        ready = sum(wanted.deployment_id in site.held and site.condition(wanted) is Condition.READY for site in there)
        fresh = [site for site in there if wanted.deployment_id in site.held.keys() - site.former.keys() - site.twice]
        changed = sum(site.condition(wanted) is Condition.READY for site in fresh)
        for site in there:
            if wanted.deployment_id in site.failed and site.serves(wanted) and changed >= wanted.replicas:
                del site.failed[wanted.deployment_id]
                self._nowhere.append(_placed(wanted, site, Action.UNLOAD, "it could not change, and others are ready"))
            if wanted.deployment_id not in site.leaving:
                continue
            runs = site.serves(wanted)
            if not runs or ready >= wanted.replicas or wanted.purpose is Purpose.IDLE:
                why = "others are ready" if ready >= wanted.replicas else "it is not ready" if not runs else "nobody uses it"
                _, placement = site.leaving.pop(wanted.deployment_id)
                self._nowhere.append(_placed(wanted, site, Action.UNLOAD, f"{placement.reason}; {why}"))

    def plan(self, ordered: Sequence[Wanted]) -> Plan:
        """Return the drawing as a plan."""
        order = {wanted.deployment_id: number for number, wanted in enumerate(ordered)}
        placements = [placement for site in self._sites for _, placement in site.every]
        for site in self._sites:
            placements += _unloads(site, set(order))
        everything = [*placements, *self._nowhere]
        return Plan(
            assigned={site.view.worker_id: assigned(site) for site in self._sites},
            placements=tuple(
                sorted(everything, key=lambda each: (order.get(each.deployment_id, len(order)), each.worker_id, each.action.value))
            ),
        )

    def _sites_of(self, wanted: Wanted) -> list[Site]:
        """Return the workers that held it, or are to."""
        return self._at.get(wanted.deployment_id, [])

    def _note_site(self, wanted: Wanted, site: Site) -> None:
        there = self._at.setdefault(wanted.deployment_id, [])
        # It may have stood there and have been evicted.
        if not any(one is site for one in there):
            there.append(site)

    def _drain(self, site: Site, wanted: Wanted, now: float) -> None:
        if now - wanted.since_time < DRAIN_SECONDS:
            site.leaving[wanted.deployment_id] = wanted, _placed(wanted, site, Action.DRAIN, "it was deleted")
        else:
            self._nowhere.append(_placed(wanted, site, Action.UNLOAD, "it was deleted"))

    def _roomiest(self, wanted: Wanted, candidates: Sequence[Site]) -> Site | None:
        fitting = [site for site in candidates if site.room >= wanted.memory_bytes]
        # Workers without a limit have the same room always: then the one that holds the least.
        return min(fitting, key=lambda site: (-site.room, len(site.every), site.view.worker_id), default=None)

    def _make_room(self, wanted: Wanted, candidates: Sequence[Site]) -> Site | None:
        if wanted.purpose is Purpose.IDLE:
            return None
        plans = [(evicted, site) for site in candidates if (evicted := evictions(site, wanted.memory_bytes)) is not None]
        if not plans:
            return None
        evicted, site = min(plans, key=lambda plan: (len(plan[0]), max(each.used_time for each in plan[0]), plan[1].view.worker_id))
        for each in evicted:
            del site.held[each.deployment_id]
            reason = f"nobody has used it since {each.used_time:.0f}, and {wanted.model}@{wanted.version} needs the room"
            self._nowhere.append(_placed(each, site, Action.UNLOAD, reason))
        return site

    def _why_not(self, wanted: Wanted, candidates: Sequence[Site]) -> str:
        if not candidates:
            failed = sum(site.view.replicas.get((wanted.model, wanted.version)) is Condition.FAILED for site in self._sites)
            return f"of {len(self._sites)} workers none may hold one more ({failed} failed to)"
        return f"a replica needs {_size(wanted.memory_bytes)}, the most room is {_size(max(site.room for site in candidates))}"


def _change(site: Site, wanted: Wanted, reason: str) -> None:
    del site.former[wanted.deployment_id]
    action = Action.LOAD if wanted.purpose is Purpose.SERVE else Action.STANDBY
    site.held[wanted.deployment_id] = wanted, _placed(wanted, site, action, reason)


def _worth(site: Site, wanted: Wanted) -> tuple[int, int, str]:
    # What is ready stays before what is coming; what was told to drain already leaves first.
    rank = {Condition.READY: 0, Condition.COMING: 1, Condition.FAILED: 3}
    condition = site.view.replicas.get((wanted.model, wanted.version))
    drains = site.given[wanted.deployment_id].holding is Holding.DRAINING
    return int(drains), 2 if condition is None else rank[condition], site.view.worker_id


def _cause_to_leave(site: Site, wanted: Wanted, count: int) -> str:
    if site.view.draining:
        return "its worker drains"
    if wanted.gpu_type not in ("", site.view.gpu_type):
        return "its worker has another accelerator"
    if count >= wanted.replicas:
        return f"{wanted.replicas} replicas are wanted"
    return f"the worker's memory is too small: {_size(site.room)} left" if site.room < wanted.memory_bytes else ""


def _unloads(site: Site, known: set[str]) -> list[Placement]:
    return [
        Placement(
            deployment_id=replica.deployment_id,
            model=replica.model,
            version=replica.version,
            worker_id=site.view.worker_id,
            action=Action.UNLOAD,
            reason="nobody wants it any more",
        )
        for replica in site.view.assigned
        if replica.deployment_id not in known
    ]


def _kept(wanted: Wanted) -> tuple[Action, str]:
    if wanted.purpose is Purpose.SERVE:
        return Action.KEEP, "it is there"
    if wanted.purpose is Purpose.ASKED:
        return Action.KEEP, "somebody asked for it lately"
    return Action.STANDBY, "a rollback would need it" if wanted.purpose is Purpose.RESERVE else "nobody uses it, and there is room"


def _placed(wanted: Wanted, site: Site | None, action: Action, reason: str) -> Placement:
    return Placement(
        deployment_id=wanted.deployment_id,
        model=wanted.model,
        version=wanted.version,
        worker_id=site.view.worker_id if site else "",
        action=action,
        reason=reason,
        memory_bytes=wanted.memory_bytes,
    )


def _size(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB" if count < 1 << 50 else "no limit"
