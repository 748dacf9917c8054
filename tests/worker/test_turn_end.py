"""What is put off during a read runs at its end, and nothing keeps the loop from its sockets."""

from __future__ import annotations

import asyncio

from services.worker.turn_end import TurnEnd


def test_what_is_put_off_while_reading_runs_at_the_end_of_the_read_in_its_order():
    turn_end, ran = TurnEnd(), list[str]()
    turn_end.begin()
    turn_end.soon(lambda: ran.append("first"))
    turn_end.soon(lambda: ran.append("second"))
    assert not ran
    turn_end.end()

    assert ran == ["first", "second"]


async def test_what_is_put_off_at_the_end_of_a_read_waits_for_the_loop():
    turn_end, ran = TurnEnd(), list[str]()

    def again() -> None:
        ran.append("turn")
        turn_end.soon(lambda: ran.append("next turn"))

    turn_end.begin()
    turn_end.soon(again)
    turn_end.end()
    assert ran == ["turn"]
    await asyncio.sleep(0)

    assert ran == ["turn", "next turn"]


async def test_outside_of_a_read_the_loop_is_asked():
    turn_end, ran = TurnEnd(), list[str]()
    turn_end.soon(lambda: ran.append("later"))
    assert not ran
    await asyncio.sleep(0)

    assert ran == ["later"]


def test_one_that_fails_takes_nothing_from_the_others():
    turn_end, ran = TurnEnd(), list[str]()
    turn_end.begin()
    turn_end.soon(lambda: 1 / 0)
    turn_end.soon(lambda: ran.append("sound"))
    turn_end.end()

    assert ran == ["sound"]
