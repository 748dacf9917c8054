"""Who was wrong too often is not looked up; nobody whose key is good is kept waiting for it."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import QuotaExceeded
from services.chassis.presented_keys import PresentedKey, peer_in
from services.chassis.wrong_keys import GOOD_LIMIT, RINGS_LIMIT, WINDOW_SECONDS, WrongKeys, network_of

ADDRESS = "192.0.2.1"
LIMIT = 20


def asked(guard: WrongKeys, key: str, now: float, peer: str | None = ADDRESS, *, good: str = "good") -> str:
    """Present a key as who looks keys up does; return what becomes of it."""
    try:
        guard.check(peer, key, now)
    except QuotaExceeded as refusal:
        return refusal.reason
    if key != good:
        guard.wrong(peer, key, now)
        return "WRONG"
    guard.right(key)
    return "GOOD"


def test_so_many_wrong_keys_within_a_minute_are_looked_up_and_no_more():
    guard = WrongKeys(LIMIT)
    told = [asked(guard, f"wrong-{number}", float(number)) for number in range(LIMIT + 1)]

    assert told == ["WRONG"] * LIMIT + ["TOO_MANY_WRONG_KEYS"]
    assert (guard.counted, guard.refused) == (LIMIT, 1)
    assert asked(guard, "from another", 21.0, "192.0.2.2") == "WRONG"


def test_one_wrong_key_over_and_over_is_refused_and_locks_nobody_else_out():
    guard = WrongKeys(LIMIT)
    told = [asked(guard, "old", 1.0) for _ in range(LIMIT + 5)]

    assert told == ["WRONG"] * LIMIT + ["TOO_MANY_WRONG_KEYS"] * 5
    assert asked(guard, "good", 1.0) == "GOOD"


def test_a_key_that_was_found_good_passes_whatever_its_address_has_done():
    guard = WrongKeys(LIMIT)
    asked(guard, "good", 0.0)
    for number in range(LIMIT):
        asked(guard, f"wrong-{number}", 1.0)

    assert asked(guard, "good", 2.0) == "GOOD"
    assert asked(guard, "never seen", 2.0) == "TOO_MANY_WRONG_KEYS"


def test_a_key_that_was_sent_before_it_was_known_opens_as_soon_as_it_is():
    guard = WrongKeys(2)
    early = [asked(guard, "early", 1.0) for _ in range(3)]
    for key in ("a", "b"):
        asked(guard, key, 1.0)
    guard.keys_changed()

    assert early == ["WRONG", "WRONG", "TOO_MANY_WRONG_KEYS"]
    assert asked(guard, "never seen", 1.0) == "TOO_MANY_WRONG_KEYS"
    assert [asked(guard, "a", 1.0) for _ in range(2)] == ["WRONG", "TOO_MANY_WRONG_KEYS"]
    assert asked(guard, "early", 1.0, good="early") == "GOOD"


def test_a_key_that_is_good_no_more_is_a_wrong_one():
    guard = WrongKeys(2)
    asked(guard, "good", 0.0)
    told = [asked(guard, "good", 1.0, good="another") for _ in range(3)]

    assert told == ["WRONG", "WRONG", "TOO_MANY_WRONG_KEYS"]


def test_the_refusal_says_when_to_come_back_and_holds_until_then():
    guard = WrongKeys(2)
    asked(guard, "a", 10.0)
    asked(guard, "b", 30.0)
    with pytest.raises(QuotaExceeded) as refused:
        guard.check(ADDRESS, "c", 40.0)

    assert refused.value.retry_after_seconds == 10.0 + WINDOW_SECONDS - 40.0
    assert asked(guard, "c", 69.9) == "TOO_MANY_WRONG_KEYS"
    assert asked(guard, "c", 70.0) == "WRONG"
    assert asked(guard, "d", 70.0) == "TOO_MANY_WRONG_KEYS"


def test_using_up_the_tries_is_said_once():
    guard = WrongKeys(2)

    assert [guard.wrong(ADDRESS, key, 1.0) for key in ("a", "a", "b")] == [False, False, True]


@pytest.mark.parametrize(("limit", "peer"), [(0, ADDRESS), (LIMIT, None)], ids=["switched off", "nobody knows the address"])
def test_nothing_is_refused_or_kept(limit: int, peer: str | None):
    guard = WrongKeys(limit)
    told = {asked(guard, f"wrong-{number}", 1.0, peer) for number in range(100)}

    assert (told, guard.counted) == ({"WRONG"}, 0)


def test_what_is_remembered_is_bounded():
    guard = WrongKeys(1)
    for number in range(RINGS_LIMIT):
        asked(guard, "k", 1.0, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    for number in range(GOOD_LIMIT + 1):
        guard.right(f"good-{number}")
    asked(guard, "wrong", 1.0)

    assert asked(guard, "k", 1.0, "10.0.0.0") == "WRONG"  # forgotten: others came
    assert asked(guard, "good-0", 1.0, good="good-0") == "TOO_MANY_WRONG_KEYS"  # forgotten, too
    assert asked(guard, "good-1", 1.0, good="good-1") == "GOOD"


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("no address", "no address"),
    ],
)
def test_an_address_counts_as_what_one_customer_gets(peer: str, network: str):
    assert network_of(peer) == network


@pytest.mark.parametrize(
    ("target", "peer"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[2001:db8::1]:5000", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", "fe80::1"),
        ("unix:/tmp/others.sock", None),
        ("unix:", None),
        ("", None),
    ],
)
def test_the_address_is_read_out_of_what_grpcio_says(target: str, peer: str | None):
    assert peer_in(target) == peer


def test_a_key_with_its_address_is_the_key():
    key = PresentedKey.of("k", ADDRESS)

    assert isinstance(key, PresentedKey)
    assert (key.peer, {"k": 1}[key]) == (ADDRESS, 1)
    assert (PresentedKey.of(None, ADDRESS), type(PresentedKey.of("k", None))) == (None, str)
