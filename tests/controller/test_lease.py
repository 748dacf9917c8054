from __future__ import annotations

import asyncio

import pytest

from penstock.contracts.errors import Unavailable
from services.controller.lease import LeaseKeeping, next_lease
from services.controller.lease_loop import LeaseLoop
from services.controller.ledger_values import Lease
from tests.chassis.manual_clock import ManualClock
from tests.controller.stand import Stand

MINE = Lease(holder="me", epoch=3, expires_time=10.0)


@pytest.mark.parametrize(
    ("held", "mine", "now", "epoch", "claim"),
    [
        (None, None, 0.0, 1, "nobody's is taken"),
        (MINE, MINE, 5.0, 3, "one's own is renewed"),
        (MINE, MINE, 50.0, 3, "one's own that ran out is renewed, for nobody took it"),
        (MINE, None, 5.0, None, "a process that starts again under its old name waits"),
        (Lease(holder="you", epoch=4, expires_time=10.0), MINE, 5.0, None, "another's is waited for"),
        (Lease(holder="you", epoch=4, expires_time=10.0), MINE, 10.0, 5, "another's that ran out is taken over"),
        (Lease(holder="me", epoch=4, expires_time=10.0), MINE, 5.0, None, "a namesake's is waited for"),
    ],
)
def test_the_epoch_grows_with_every_take_over(held: Lease | None, mine: Lease | None, now: float, epoch: int | None, claim: str):
    lease = next_lease(held, mine, Lease(holder="me", epoch=1, expires_time=now + 5.0), now)

    assert (lease.epoch if lease else None) == epoch
    assert lease is None or lease.expires_time == now + 5.0


async def test_of_many_who_claim_at_once_one_gets_it(stand: Stand):
    await LeaseKeeping(stand.catalogue, holder="controller-1", life_seconds=60).give_back(stand.lease)
    claims = [LeaseKeeping(stand.catalogue, holder=f"controller-{number}", life_seconds=60) for number in range(5)]
    leases = await asyncio.gather(*(each.claim(None) for each in claims))

    assert [lease.epoch for lease in leases if lease] == [stand.lease.epoch + 1]


async def test_a_lease_that_is_given_back_is_taken_at_once(stand: Stand):
    first = LeaseKeeping(stand.catalogue, holder="a", life_seconds=3600)
    second = LeaseKeeping(stand.catalogue, holder="b", life_seconds=3600)
    assert await second.claim(None) is None
    await first.give_back(stand.lease)

    taken = await second.claim(None)
    assert taken is not None
    assert taken.epoch == stand.lease.epoch + 1


class Claims:
    def __init__(self) -> None:
        self.answers: list[Lease | Exception | None] = []

    async def claim(self, mine: Lease | None) -> Lease | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def go_past(self, epoch: int) -> None: ...

    async def give_back(self, mine: Lease) -> None: ...


async def test_a_holder_that_cannot_renew_counts_itself_out_when_its_lease_has_run_out():
    clock, claims = ManualClock(), Claims()
    loop = LeaseLoop(claims, clock, life_seconds=3.0, renew_seconds=1.0)
    claims.answers = [MINE, Unavailable("away"), Unavailable("away"), MINE]
    await loop.look()
    assert loop.epoch == 3

    clock.advance(2.0)
    await loop.look()
    assert loop.epoch == 3
    clock.advance(1.0)
    assert loop.epoch == 0
    await loop.look()
    assert loop.epoch == 0
    await loop.look()
    assert loop.epoch == 3


async def test_a_holder_whose_lease_was_taken_stands_by():
    clock, claims = ManualClock(), Claims()
    loop = LeaseLoop(claims, clock, life_seconds=3.0, renew_seconds=1.0)
    claims.answers = [MINE, None]
    await loop.look()
    await loop.look()

    assert loop.epoch == 0
