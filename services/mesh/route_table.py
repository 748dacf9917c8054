"""What can be called: models, versions, aliases and weights, derived from what workers report.

Pure: `apply` takes one worker's status, everything else answers from the tables built then. Of two statuses of one instance the one
with the higher revision wins. A deployment is one version with all replicas of it that are ready; it is replaced by a new value
only when its replicas, digest or configuration change, so that what others keep per deployment (templates, counters) stays valid.

Where routes are written (`plans`), they alone say which version serves who names none. Everywhere else routes are derived:
a model is served by its newest version that no worker is still loading; while a newer one is loading somewhere the previous one keeps
the traffic. What a lost worker last said about itself counts for nothing in this. The configuration of the newest ready version may
declare shares (`[traffic]` of model.toml) and other names of versions (`[aliases]`); `latest` is the newest version that has traffic.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from penstock.contracts.errors import InvalidInput, ModelNotFound, NoReadyReplica, VersionNotFound
from penstock.contracts.names import check_model_name, version_order
from penstock.contracts.routes import Route, single
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.mesh.asked_versions import AskedVersions
from services.mesh.deployment import Deployment, deployment_of, soundest
from services.mesh.plan import LATEST, Plan, no_route
from services.mesh.refusals import not_known_yet

LOADING = frozenset({ReplicaState.LOADING, ReplicaState.WARMING})
HELD = frozenset({ReplicaState.LOADING, ReplicaState.WARMING, ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.FAILED})


class RouteTable:
    """Answers which deployment serves a name."""

    def __init__(self, plans: Mapping[str, Plan] | None = None, asked: AskedVersions | None = None) -> None:
        """Start with nothing to call.

        Args:
            plans: routes, which their owner changes; with them a model needs one to be called without a version.
            asked: where it is noted what was asked for and is nowhere; None where nobody would load it.
        """
        self.revision = 0
        self._plans = plans
        self._asked = asked
        self._statuses: dict[str, WorkerStatus] = {}
        self._deployments: dict[str, dict[str, Deployment]] = {}
        self._routes: dict[str, Route] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self._known: dict[str, dict[str, ReplicaState]] = {}
        self._lost: set[str] = set()
        self._gone: set[tuple[str, int]] = set()
        self._missed: dict[str, frozenset[str]] = {}
        self._has_seen_all = False
        """Whether any worker has ever said that it holds all that it could load; what goes away later is missed."""

    def apply(self, worker_id: str, status: WorkerStatus | None) -> bool:
        """Take a worker's newest status, None when the worker is gone; return whether anything changed."""
        held = self._statuses.get(worker_id)
        self._miss(worker_id, held, status)
        if status is None:
            if held is None:
                return False
            del self._statuses[worker_id]
        else:
            if held is not None and held.instance_id == status.instance_id and held.revision >= status.revision:
                return False
            self._statuses[worker_id] = status
        self._rebuild()
        return True

    def reach(self, instance_id: str, *, is_lost: bool) -> bool:
        """Note whether a worker instance was lost; return whether that is news.

        Its replicas stay known and callable by version, but choose no version for others any more: a worker that died while it loaded
        would otherwise hold the new version back, and keep the traffic on an old one that only itself still had.
        """
        if (instance_id in self._lost) == is_lost:
            return False
        (self._lost.add if is_lost else self._lost.discard)(instance_id)
        self._rebuild()
        return True

    def give_up(self, instance_id: str, replica_id: int) -> bool:
        """Note that a replica takes nothing any more, which its worker's status says later or never; return whether that is news."""
        if (instance_id, replica_id) in self._gone:
            return False
        self._gone.add((instance_id, replica_id))
        self._rebuild()
        return True

    def newest(self, deployment: Deployment) -> Deployment:
        """Return the newest value of a deployment; what is not ready anywhere may still take requests where it drains."""
        found = self.deployment(deployment.model, deployment.version)
        if found is not None and found.is_same(deployment):
            return found
        left = tuple(one for one in deployment.replicas if (one.instance_id, one.replica_id) not in self._gone)
        return replace(deployment, replicas=left)

    def successor(self, deployment: Deployment) -> Deployment | None:
        """Return what a derived route serves by now in the place of a deployment, None if nothing else that takes the same inputs.

        Where several versions share the traffic there is no successor: who got which one was decided by a key.
        """
        route = self._routes.get(deployment.model) if self._plans is None else None
        if route is None or len(route.backends) != 1:
            return None
        found = self.deployment(deployment.model, route.backends[0].version)
        if found is None or found.is_same(deployment) or found.signature != deployment.signature:
            return None
        return found

    def statuses(self) -> Mapping[str, WorkerStatus]:
        """Return the newest status of every live worker."""
        return self._statuses

    def models(self) -> Sequence[str]:
        """Return the names of all models that any worker holds or tried to hold."""
        return sorted(self._known)

    def versions(self, model: str) -> Sequence[str]:
        """Return the ready versions of a model, oldest first."""
        return sorted(self._deployments.get(model, {}), key=version_order)

    def route(self, model: str) -> Route | None:
        """Return the route of a model: the one in force, or where nobody writes routes the one of a model that serves."""
        if self._plans is not None:
            plan = self._plans.get(model)
            return None if plan is None else plan.route
        return self._routes.get(model)

    def plan(self, model: str) -> Plan | None:
        """Return the compiled route in force; None where nobody wrote one."""
        return None if self._plans is None else self._plans.get(model)

    def deployment(self, model: str, version: str) -> Deployment | None:
        """Return a ready version."""
        return self._deployments.get(model, {}).get(version)

    def resolve(self, model: str, version: str = "", routing_key: bytes = b"", tenant: str = "") -> Deployment:
        """Return the deployment that serves a request.

        Raises:
            InvalidInput: the name could not be a model's.
            ModelNotFound, VersionNotFound: nothing of this name.
            NoReadyReplica: it exists and is not ready.
            Unavailable: it has no route, is frozen, or is switched off.
        """
        if self._plans is not None:
            return self._planned(model, version, routing_key, tenant)
        ready = self._deployments.get(model)
        if ready:
            wanted = self._aliases[model].get(version, version) if version else self._routes[model].choose(routing_key)
            found = ready.get(wanted)
            if found is not None:
                return found
        raise self._refusal(model, version)

    def _planned(self, model: str, version: str, routing_key: bytes, tenant: str) -> Deployment:
        ready, plan = self._deployments.get(model, {}), self.plan(model)
        if plan is None and not version and model in self._known:
            raise no_route(model)
        wanted = version
        if plan is not None:
            wanted = plan.named(version, tenant) if version else plan.choose(tenant, routing_key)[0]
        found = ready.get(wanted)
        if found is None:
            raise self._refusal(model, wanted)
        return found

    def _miss(self, worker_id: str, held: WorkerStatus | None, status: WorkerStatus | None) -> None:
        """Remember what a worker that went away had, till it is back and has said all it has: before, nobody can say "no such model"."""
        if status is not None and (status.replicas or held is None or held.instance_id == status.instance_id):
            if status.settled:
                self._missed.pop(worker_id, None)
        elif held is not None and held.replicas:
            # It may have gone again before it had said everything.
            gone = frozenset(replica.model for replica in held.replicas if replica.state in HELD)
            self._missed[worker_id] = self._missed.get(worker_id, frozenset()) | gone

    def _refusal(self, model: str, version: str) -> Exception:
        known = self._known.get(model)
        if known is None and any(model in missed for missed in self._missed.values()):
            return NoReadyReplica(f"the worker that held model {model!r} is being started again", retry_after_seconds=1.0)
        wanted = self._aliases.get(model, {}).get(version, version)
        if known is None or (version and wanted not in known):
            return self._absence(model, version, wanted)
        states = {known[wanted]} if version else set(known.values())
        is_loading = bool(states & LOADING)
        return NoReadyReplica(
            f"model {model!r}{f' version {version!r}' if version else ''} is not ready ({', '.join(sorted(s.name for s in states))})",
            reason="MODEL_LOADING" if is_loading else None,
            retry_after_seconds=0.5 if is_loading else 2.0,
        )

    def _absence(self, model: str, version: str, wanted: str) -> Exception:
        """Return the refusal of what no worker holds or tried to hold."""
        try:
            check_model_name(model)
        except InvalidInput as error:
            return error
        plan = self.plan(model)
        is_routed = plan is not None and plan.backend(wanted) is not None
        if is_routed or (version and self._asked is not None and self._asked.missed(model, wanted)):
            return NoReadyReplica(
                f"no worker holds model {model!r} version {wanted!r}, which is to be loaded",
                reason="MODEL_LOADING",
                retry_after_seconds=1.0,
            )
        known = self._known.get(model)
        if known is None and self._plans is None and not self._has_seen_all:
            return not_known_yet(model)
        if known is None:
            near = difflib.get_close_matches(model, self._known, n=1)
            return ModelNotFound(
                f"model {model!r} is not known here{f', did you mean {near[0]!r}?' if near else ''} (penstock models list)",
                field="model_name",
            )
        return VersionNotFound(
            f"model {model!r} has no version {version[:64]!r}; it has: {', '.join(sorted(known, key=version_order))}",
            field="model_version",
        )

    def _rebuild(self) -> None:
        self.revision += 1
        instances = {status.instance_id for status in self._statuses.values()}
        self._has_seen_all = self._has_seen_all or any(status.settled for status in self._statuses.values())
        self._lost &= instances
        self._gone = {pair for pair in self._gone if pair[0] in instances}
        replicas = [
            (status.instance_id, replica if (status.instance_id, replica.replica_id) not in self._gone else _draining(replica))
            for status in self._statuses.values()
            for replica in status.replicas
            if replica.state in HELD
        ]
        self._known = _known(replicas)
        fresh: dict[str, dict[str, Deployment]] = {}
        for model, versions in self._known.items():
            for version in versions:
                built = deployment_of(
                    [pair for pair in replicas if pair[1].model == model and pair[1].version == version and pair[1].is_ready]
                )
                if built is not None:
                    old = self._deployments.get(model, {}).get(version)
                    fresh.setdefault(model, {})[version] = old if old is not None and old.is_equal(built) else built
        if self._asked is not None:
            _note_moves(self._asked, self._deployments, fresh)
        self._deployments = fresh
        self._routes = {model: self._routed(model, ready) for model, ready in fresh.items()}
        self._aliases = {model: self._aliased(model, ready) for model, ready in fresh.items()}

    def _routed(self, model: str, ready: Mapping[str, Deployment]) -> Route:
        newest_first = sorted(ready, key=version_order, reverse=True)
        shares = ready[newest_first[0]].shares
        if shares and all(backend.version in ready for backend in shares if backend.weight_basis_points):
            return Route(model=model, backends=shares, revision=self.revision)
        reachable = [version for version in newest_first if any(one.instance_id not in self._lost for one in ready[version].replicas)]
        return single(model, self._newest(model, soundest(reachable or newest_first, ready)), revision=self.revision)

    def _newest(self, model: str, newest_first: Sequence[str]) -> str:
        for version in newest_first:
            if not any(_is_behind(status, model, version) for status in self._statuses.values()):
                return version
        return newest_first[0]

    def _aliased(self, model: str, ready: Mapping[str, Deployment]) -> dict[str, str]:
        newest = max(ready, key=version_order)
        backends = self._routes[model].backends
        serving = max((backend.version for backend in backends if backend.weight_basis_points), key=version_order)
        known = self._known[model]  # What is there goes before what is only named so.
        return {alias: version for alias, version in ready[newest].aliases.items() if alias not in known} | {LATEST: serving}


def _note_moves(
    asked: AskedVersions, before: Mapping[str, Mapping[str, Deployment]], after: Mapping[str, Mapping[str, Deployment]]
) -> None:
    for model, version in ((model, version) for model, versions in before.items() for version in versions):
        if version not in after.get(model, {}):
            asked.left(model, version)
    for model, version in ((model, version) for model, versions in after.items() for version in versions):
        if version not in before.get(model, {}):
            asked.came(model, version)


def _is_behind(status: WorkerStatus, model: str, version: str) -> bool:
    """Whether a worker is still loading a version and has no older files of it that serve meanwhile."""
    states = {replica.state for replica in status.replicas if replica.model == model and replica.version == version}
    return not status.draining and bool(states & LOADING) and ReplicaState.READY not in states


def _draining(replica: ReplicaStatus) -> ReplicaStatus:
    return replace(replica, state=ReplicaState.DRAINING) if replica.is_ready else replica


def _known(replicas: Iterable[tuple[str, ReplicaStatus]]) -> dict[str, dict[str, ReplicaState]]:
    known: dict[str, dict[str, ReplicaState]] = {}
    for _, replica in replicas:
        versions = known.setdefault(replica.model, {})
        if versions.get(replica.version) is not ReplicaState.READY:
            versions[replica.version] = replica.state
    return known
