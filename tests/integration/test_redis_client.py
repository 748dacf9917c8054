"""Redis dies, hangs, refuses and comes back: whoever asks is told so at once, and a person once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from bench.killable import RealServer
from bench.quotas import until
from services.chassis.breaker import BreakerPolicy
from services.chassis.clock import SystemClock
from services.chassis.config import InvalidConfig, load
from services.chassis.redis_client import RedisClient, RedisSettings
from services.router.config import RouterSettings
from services.stack.recipe import HOST
from services.stack.redis_store import Redis
from tests.authority import write_key
from tests.faults.proxy import Proxy, Toxic
from tests.worker.links import on_uvloop

PATIENT = BreakerPolicy(first_pause_seconds=0.05, longest_pause_seconds=0.2)
PING = [("PING",)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = RealServer(Redis(), tmp_path_factory.mktemp("redis"))
    server.start()
    server.wait()
    try:
        yield server
    finally:
        server.send(signal.SIGCONT)
        server.close()


def client_of(server: RealServer, seconds: float = 5.0, *, address: str = "") -> RedisClient:
    settings = RedisSettings(url=f"redis://{address or server.address}", timeout_seconds=seconds, connect_seconds=seconds)
    return RedisClient(settings, SystemClock(), PATIENT)


async def answers(client: RedisClient) -> None:
    """Ask until Redis answers."""
    give_up = asyncio.get_running_loop().time() + 30
    while await client.ask(PING) is None:
        assert asyncio.get_running_loop().time() < give_up
        await asyncio.sleep(0.01)


async def given_up(client: RedisClient) -> None:
    """Ask until nobody is asked any more."""
    while client.is_there:
        assert await client.ask(PING) is None


async def test_replies_come_in_order_and_a_refusal_is_a_reply(own: RealServer):
    async with client_of(own) as client:
        replies = await client.ask([("SET", "a", b"1"), ("GET", "a"), ("LPUSH", "a", "x"), ("GET", "a")])

        assert replies is not None
        assert [replies[0], replies[1], replies[3]] == [True, b"1", b"1"]
        assert isinstance(replies[2], Exception)
        assert (client.counters.refused, client.counters.failures, client.is_there) == (1, 0, True)


@on_uvloop
async def test_a_connection_that_was_reset_between_two_questions_is_a_failure_like_others(own: RealServer):
    host, _, port = own.address.rpartition(":")
    with Proxy("redis", lambda: (host, int(port))) as wire:
        async with client_of(own, address=f"{HOST}:{wire.port}") as client:
            await answers(client)
            wire.poison(Toxic(reset=True))
            wire.heal()
            _, writer = await asyncio.open_connection(HOST, wire.port)  # whatever came before this was read before this
            writer.close()
            told = await client.ask(PING)
            await answers(client)

    assert (told, client.counters.failures >= 1) == (None, True)


async def test_a_redis_that_was_killed_is_given_up_and_found_again(own: RealServer, capsys: pytest.CaptureFixture[str]):
    async with client_of(own) as client:
        await answers(client)
        own.kill()
        await given_up(client)
        failures = client.counters.failures
        assert await client.ask(PING) is None
        assert (client.counters.failures, client.counters.spared) == (failures, 1)

        own.start()
        await asyncio.to_thread(own.wait)
        await answers(client)

        assert client.is_there
        assert client.counters.times_away == 1
    said = capsys.readouterr().out
    assert (said.count("redis_away"), said.count("redis_is_back")) == (1, 1)


async def test_a_redis_that_hangs_is_given_up_after_a_few_time_outs_and_no_reply_goes_to_the_wrong_question(own: RealServer):
    async with client_of(own, seconds=0.3) as client:
        await answers(client)
        failures = client.counters.failures
        own.send(signal.SIGSTOP)
        try:
            await given_up(client)
        finally:
            own.send(signal.SIGCONT)
        assert 0 < client.counters.failures - failures <= 5

        await answers(client)
        while (reply := await client.ask([("ECHO", "mine")])) is None:
            continue
        assert reply == [b"mine"]


async def test_whoever_stops_waiting_leaves_no_reply_behind(own: RealServer):
    async with client_of(own) as client:
        await answers(client)
        own.send(signal.SIGSTOP)
        asking = asyncio.create_task(client.ask([("ECHO", "left")]))
        await until(lambda: client.counters.asked == 2)
        await asyncio.sleep(0)
        asking.cancel()
        own.send(signal.SIGCONT)
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert await client.ask([("ECHO", "mine")]) == [b"mine"]


async def test_a_password_is_asked_for_and_a_wrong_one_is_no_redis(own: RealServer):
    async with client_of(own) as admin:
        await admin.ask([("ACL", "SETUSER", "router", "on", ">right", "~*", "+@all")])
    for password, expected in (("right", [b"mine"]), ("wrong", None)):
        settings = RedisSettings(
            url=f"redis://{own.address}", username="router", password=password, timeout_seconds=5.0, connect_seconds=5.0
        )
        async with RedisClient(settings, SystemClock()) as client:
            assert await client.ask([("ECHO", "mine")]) == expected
        assert password not in repr(settings)


async def test_tls_is_spoken_with_whom_the_given_authority_vouches_for_by_whom_the_server_knows(tmp_path: Path, free_port: int):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("authority", "certificate", "key", "stranger")}
    authority.cert_pem.write_to_path(str(paths["authority"]))
    certificate.cert_chain_pems[0].write_to_path(str(paths["certificate"]))
    write_key(paths["key"], certificate.private_key_pem.bytes())
    trustme.CA().cert_pem.write_to_path(str(paths["stranger"]))
    files = ("--tls-cert-file", paths["certificate"], "--tls-key-file", paths["key"], "--tls-ca-cert-file", paths["authority"])
    shown = {"certificate": paths["certificate"], "key": paths["key"]}
    options = ("--port", "0", "--tls-port", free_port, "--bind", "127.0.0.1", "--save", "", "--tls-auth-clients", "yes", *files)
    process = await asyncio.create_subprocess_exec("redis-server", *map(str, options), stdout=asyncio.subprocess.DEVNULL, cwd=tmp_path)
    try:
        trusting, doubting, nameless = (
            RedisClient(
                RedisSettings(
                    url=f"rediss://127.0.0.1:{free_port}", authorities=paths[name], timeout_seconds=5.0, connect_seconds=5.0, **mine
                ),
                SystemClock(),
                PATIENT,
            )
            for name, mine in (("authority", shown), ("stranger", shown), ("authority", {}))
        )
        async with trusting, doubting, nameless:
            await answers(trusting)
            assert await doubting.ask(PING) is None
            assert await nameless.ask(PING) is None
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("half", [{"certificate": "c"}, {"key": "k"}, {"authorities": "a", "url": "redis://h:1"}])
def test_half_a_tls_setting_is_refused(half: dict[str, str]):
    with pytest.raises(ValueError, match=r"go together|rediss://"):
        RedisSettings.model_validate({"url": "rediss://h:1", **half})


def test_a_url_with_a_password_or_without_a_host_is_refused():
    for url in ("redis://:secret@h:1", "redis://user@h:1", "http://h:1", "redis://"):
        with pytest.raises(ValueError, match=r"must (be|hold)"):
            RedisSettings(url=url)


@pytest.mark.parametrize("end", [":0", ":65536", ":port", ":1/first", ":1/-1"])
def test_a_url_whose_port_or_database_is_none_is_refused(end: str):
    with pytest.raises(ValueError, match="database a number"):
        RedisSettings(url=f"redis://h{end}")


@pytest.mark.parametrize("end", ["?password=secret", "?timeout=3", "/0?ssl_cert_reqs=none", "#secret"])
def test_a_url_holds_no_settings_and_what_they_say_is_not_shown(end: str):
    with pytest.raises(InvalidConfig, match=r"redis\.url: .*must hold nothing after") as caught:
        load(RouterSettings, overrides={"redis": {"url": f"rediss://h:1{end}"}, "state_dir": "state"})

    assert "secret" not in str(caught.value)
