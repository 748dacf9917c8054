"""Which replicas of a deployment can be sent something now, as (link, replica id)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from services.mesh import placement
from services.mesh.lane import Lane, open_lane
from services.mesh.link import Link
from services.mesh.route_table import Deployment, RouteTable


def reachable(links: Mapping[str, Link], deployment: Deployment) -> Iterator[tuple[Link, int]]:
    """Yield the replicas whose worker has a link, up or not; `links` are by instance id."""
    for replica in deployment.replicas:
        link = links.get(replica.instance_id)
        if link is not None:
            yield link, replica.replica_id


def candidates(links: Mapping[str, Link], deployment: Deployment) -> list[tuple[Link, int]]:
    """Return the replicas that take part in placement."""
    found = [(link, replica_id) for link, replica_id in reachable(links, deployment) if link.is_up]
    ejected = [(link, replica_id) for link, replica_id in found if link.rotations and not link.takes(replica_id)]
    return placement.in_rotation(found, ejected) if ejected else found


def is_waking(links: Mapping[str, Link], deployment: Deployment) -> bool:
    """Whether a replica's worker is only silent: then those who have nobody else wait for it."""
    return any(link.may_wake for link, _ in reachable(links, deployment))


def new_lane(table: RouteTable, link: Link, replica_id: int, deployment: Deployment) -> Lane:
    """Open the account of a replica that was sent nothing yet."""
    statuses = table.statuses().values()
    held = next((one.replicas for one in statuses if one.instance_id == link.target.instance_id), ())
    return open_lane(link.lanes, replica_id, deployment.signature.max_batch_size or 1, held)
