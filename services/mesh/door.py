"""Which requests of a chunk a replica can still answer in time; the others are refused before they are sent.

Pure: the caller passes `now`. A request is refused when its deadline lies before the moment at which its answer may be expected
(lane.py), with a margin: what would come just in time for the worker comes too late for the caller, and work that nobody waits for
is goodput lost. A refused caller hears so at once and can go elsewhere, instead of shortly before its deadline. Refusing too few costs
no goodput, for the worker drops what it cannot finish; refusing too many would idle it, so an idle lane always gets a request.

Measured, with the account of lane.py: 1.1 to 1.6 µs a chunk, 0.02 µs a request in chunks of 64; 3 to 5 µs a chunk while deadlines are near
(2 busy vCPUs, November 2026). That is why it is asked once a chunk, and not at all while deadlines are far (CALM).

Tenants are served in turns by the worker, so what a tenant waits for is its own rows and at most as many of each other one: one who floods
the queue does not close the door to others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from penstock.contracts.errors import Overloaded
from services.mesh.chunk import Chunk
from services.mesh.lane import Lane

MARGIN = 1.15
"""An answer is expected after this many times what was predicted."""
MARGIN_SECONDS = 0.001
"""And later by this: two links, two loops."""
LASTING_MARGIN = 1.5
"""The same where requests have been refused for LASTING_SECONDS: whoever waits longest is late after the least hitch, and the executions
are lost; a shorter queue costs nothing while there is always somebody who comes next. With 1.15 a seventh of what was executed came too
late, with 1.5 a twentieth; 2 was no better (3 times the capacity, deadlines of 30 ms, 2 busy vCPUs, November 2026)."""
LASTING_SECONDS = 0.05
OVER_SECONDS = 0.1
"""An overload is over when nothing was refused for so long."""
CALM = 4.0
"""A deadline so many times as far away as the answer makes the question superfluous for others like it, for CALM_SECONDS."""
CALM_SECONDS = 0.01
LEAST_PUSHBACK_SECONDS = 0.02
SHARES_SECONDS = 0.002
"""How long a count of rows by tenant holds, and SHARES_SECONDS_A_CHUNK longer for every chunk: counting takes at most some percent."""
SHARES_SECONDS_A_CHUNK = 0.0001


def is_pressed(chunk: Chunk, lane: Lane, now: float) -> bool:
    """Whether some request of a chunk may come too late; the one question that is asked of every chunk."""
    ahead, rows, patience = lane.rows, chunk.rows_left, chunk.earliest_deadline - now
    if not ahead and chunk.left == 1:
        return False
    if now < lane.calm_until and ahead + rows <= lane.calm_rows and patience >= lane.calm_seconds:
        return False
    seconds = lane.seconds(ahead, rows, now) * margin(lane, now) + MARGIN_SECONDS
    if CALM * seconds <= patience:
        lane.calm_until, lane.calm_rows, lane.calm_seconds = now + CALM_SECONDS, 2 * (ahead + rows), CALM * seconds
    return seconds > patience


def margin(lane: Lane, now: float) -> float:
    """Return how many times what was predicted an answer is expected after."""
    return LASTING_MARGIN if lane.refused_from + LASTING_SECONDS <= now < lane.refused_until else MARGIN


def note_refusal(lane: Lane, now: float) -> None:
    """Note that a request was refused because this lane, too, would answer it too late."""
    if now >= lane.refused_until:
        lane.refused_from = now
    lane.refused_until = now + OVER_SECONDS


def count_shares(lane: Lane, chunks: Iterable[Chunk], now: float) -> None:
    """Count the rows of each tenant among the open `chunks` of a link that are on `lane`, unless that was done just now."""
    if now < lane.shares_until:
        return
    rows: Counter[int] = Counter()
    mine = [chunk for chunk in chunks if chunk.lane is lane]
    for chunk in mine:
        for tenant, count in Counter(chunk.tenants).items():
            rows[tenant] += count * chunk.template.rows
    lane.shares = rows
    lane.shares_until = now + SHARES_SECONDS + SHARES_SECONDS_A_CHUNK * len(mine)


def fitting(chunk: Chunk, lane: Lane, now: float) -> list[int]:
    """Return the open positions of a chunk whose answers may be expected in time, in their order."""
    rows, tenants, shares, factor = chunk.template.rows, chunk.tenants, lane.shares, margin(lane, now)
    ahead = lane.ahead(chunk.rank)
    kept: list[int] = []
    taken: Counter[int] = Counter()
    for position in chunk.open_positions():
        before = ahead + len(kept) * rows
        tenant = tenants[position] if tenants else 0
        others, own = len(shares) - (tenant in shares), shares[tenant] + taken[tenant]
        if others:
            before = min(before, _in_turns(shares, tenant, taken[tenant], lane))
        patience = chunk.deadlines[position] - now - MARGIN_SECONDS
        # It is not they who overtake the queue, nor they who have less than an equal share of it, that make it long.
        lengthens = before >= lane.rows and (not others or own * (others + 1) >= lane.rows)
        if lane.seconds(before, rows, now) * (factor if lengthens else MARGIN) <= patience or not (kept or lane.rows):
            kept.append(position)
            taken[tenant] += rows
    return kept


def refusal(chunk: Chunk, lane: Lane, now: float) -> Overloaded:
    """Return what the callers of the requests that do not fit are told: how long the queue is, in steps so that refusals are alike."""
    seconds = lane.seconds(lane.ahead(chunk.rank), chunk.template.rows, now)
    pushback = max(LEAST_PUSHBACK_SECONDS, round(seconds, 2))
    deployment = chunk.context.deployment
    return Overloaded(
        f"{deployment.model}@{deployment.version} would answer after {pushback * 1000:.0f} ms or more, later than the deadline",
        retry_after_seconds=pushback,
    )


def _in_turns(shares: Counter[int], tenant: int, more: int, lane: Lane) -> int:
    """Return the rows answered before another request of a tenant, `more` of whose rows come just before it: tenants take turns."""
    own = shares[tenant] + more
    before = own + sum([min(count, own + lane.row_limit) for number, count in shares.items() if number != tenant])
    return before + min(lane.row_limit, max(0, lane.rows - before))


def split(chunk: Chunk, kept: Sequence[int]) -> Chunk | None:
    """Move the requests at `kept` to a chunk of their own; the chunk itself when they are all, None when there are none."""
    if not kept:
        return None
    return chunk if len(kept) == chunk.left == chunk.size else chunk.part(kept)
