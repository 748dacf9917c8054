"""How often a request is executed on one version, and how long one try of it may take: what its route says. Pure.

Theory. A try begins when a chunk is given to a worker. One that has no answer in `try_timeout_seconds` is cancelled there and sent to
another worker, as long as the version has one, it was not executed `attempts` times already, and the retry budget allows it; else it
fails with TRY_TIMEOUT, and the route's next fallback step may help. The deadline of a request stands above that of a try. `attempts`
caps what would be done without it: a request whose worker died is not sent to more workers than quarantine.py allows, whatever it says.
Who was refused unexecuted has not used up a try.
"""

from __future__ import annotations

from penstock.contracts.errors import Unavailable
from penstock.contracts.routes import Backend
from services.mesh.chunk import NO_DEADLINE
from services.mesh.route_table import Deployment, RouteTable

MAX_ATTEMPTS = 3
"""Most workers that one request is sent to, where its route does not say."""


def backend_of(table: RouteTable, deployment: Deployment) -> Backend | None:
    """Return what the route in force says of a version."""
    plan = table.plan(deployment.model)
    return None if plan is None else plan.backend(deployment.version)


def ends_at(backend: Backend | None, now: float) -> float:
    """Return when a try that begins now is over."""
    return now + backend.try_timeout_seconds if backend is not None and backend.try_timeout_seconds else NO_DEADLINE


def capped(tries: int, backend: Backend | None) -> int:
    """Return how often a request may be executed that may be executed `tries` times for other reasons."""
    return min(tries, backend.attempts) if backend is not None and backend.attempts else tries


def most(backend: Backend | None) -> int:
    """Return how often a request may be executed whose tries take too long."""
    return backend.attempts if backend is not None and backend.attempts else MAX_ATTEMPTS


def took_too_long(deployment: Deployment) -> Unavailable:
    """Return what callers are told whose last try was cancelled."""
    return Unavailable(
        f"{deployment.model}@{deployment.version} did not answer within the time that its route gives a try",
        reason="TRY_TIMEOUT",
        retry_after_seconds=0.1,
    )
