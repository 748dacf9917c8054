"""Archives over https: from public addresses and networks that are allowed alone, by the name's certificate, and not for ever."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.contracts.errors import InvalidInput, NotFound, RequestTooLarge, ServingError, Unavailable
from services.chassis.clock import SystemClock
from services.chassis.process import CannotStart
from services.controller.config import ControllerSettings
from services.controller.https_source import HttpsSource, HttpsTimes
from services.controller.public_addresses import may_be_asked, networks_of
from services.controller.registering import registering
from services.controller.registration_values import RegistrationRequest, Url
from services.controller.sources import SourceRules
from tests.authority import Authority, put
from tests.controller.registering import GOOD, FakeBook, Kit, kit, tar

AUTHORITY = Authority()
HOST = "models.example"
ARCHIVE = tar(GOOD, compressed=True)
LOOPBACK = networks_of(["127.0.0.0/8"])
INSIDE = (
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255",
    "240.0.0.1", "192.0.2.1", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "fe80::1", "fe80::1%eth0", "fd00::1", "fec0::1", "ff02::1", "2001:db8::1",
)  # fmt: skip
SPELLINGS = ("127.1", "localhost", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "0")

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_not_asked_whatever_they_are_written_as(address: str):
    assert not may_be_asked(address, ())


def test_public_addresses_and_those_of_allowed_networks_are_asked():
    assert may_be_asked("93.184.216.34", ())
    assert may_be_asked("2606:2800:220:1:248:1893:25c8:1946", ())
    assert may_be_asked("::ffff:127.0.0.1", LOOPBACK)
    assert not may_be_asked("10.0.0.1", LOOPBACK)


@dataclass(frozen=True, kw_only=True)
class Sender:
    """A real server of TLS, and what it was asked."""

    port: int
    asked: list[bytes]


@asynccontextmanager
async def sender(folder: Path, answer: Answer, name: str = HOST) -> AsyncIterator[Sender]:
    AUTHORITY.issue(names=[name]).write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other end left, as it should
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield Sender(port=server.sockets[0].getsockname()[1], asked=asked)
    finally:
        server.close()


def said(head: str, body: bytes = b"") -> Answer:
    """Return what sends one answer and closes."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return answer


def whole(body: bytes) -> Answer:
    return said(f"HTTP/1.1 200 OK\ncontent-length: {len(body)}", body)


def endless(piece: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


async def here(_host: str, _port: int) -> tuple[str, ...]:
    return ("127.0.0.1",)


@asynccontextmanager
async def intake(folder: Path, times: HttpsTimes | None = None, **more: object) -> AsyncIterator[Kit]:
    (folder / "authorities.pem").write_bytes(AUTHORITY.pem)
    rules = {"networks": LOOPBACK, "resolve": here, "times": times or HttpsTimes(connect_seconds=30.0, answer_seconds=30.0), **more}
    source = HttpsSource(authorities=folder / "authorities.pem", **rules)
    async with kit(folder, rules=lambda _: SourceRules(urls=("https://",), https=source)) as made:
        yield made


async def refusal(made: Kit, url: str) -> ServingError:
    with pytest.raises(ServingError) as caught:
        await made.register(Url(url=url))
    assert await made.leftovers() == []
    return caught.value


async def test_an_archive_is_fetched_from_the_judged_address_for_the_names_certificate_and_registered(tmp_path: Path):
    async with sender(tmp_path, whole(ARCHIVE)) as far, intake(tmp_path) as made:
        url = f"https://{HOST}:{far.port}/churn-1.tar.gz"
        registered = await made.register(Url(url=url))

    (asked,) = far.asked
    assert (registered.source, [file.path for file in registered.manifest.files]) == (url, ["version/model.onnx"])
    assert asked.startswith(b"GET /churn-1.tar.gz HTTP/1.1\r\n")
    assert f"host: {HOST}:{far.port}".encode() in asked.lower()


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_is_refused_and_nobody_is_asked(tmp_path: Path, address: str):
    async def mixed(_host: str, _port: int) -> tuple[str, ...]:
        return ("93.184.216.34", address)

    async with sender(tmp_path, whole(ARCHIVE)) as far, intake(tmp_path, networks=(), resolve=mixed) as made:
        refused = await refusal(made, f"https://{HOST}:{far.port}/a.tar")

    assert (type(refused), refused.reason, far.asked) == (InvalidInput, "SOURCE_REFUSED", [])
    assert address not in refused.message


@pytest.mark.parametrize("host", SPELLINGS)
async def test_other_spellings_of_loopback_are_refused_as_the_machine_reads_them(tmp_path: Path, host: str):
    async with kit(tmp_path, rules=lambda _: SourceRules(urls=("https://",))) as made:
        refused = await refusal(made, f"https://{host}/a.tar")

    # Where the machine's resolver does not read a spelling, it leads nowhere at all.
    assert refused.reason in {"SOURCE_REFUSED", "STORE_UNAVAILABLE"}


async def test_a_name_is_looked_up_once_so_that_a_second_answer_leads_nowhere(tmp_path: Path):
    answers = [("127.0.0.1",), ("10.0.0.1",)]

    async def rebinding(_host: str, _port: int) -> tuple[str, ...]:
        return answers.pop(0)

    async with sender(tmp_path, whole(ARCHIVE)) as far, intake(tmp_path, resolve=rebinding) as made:
        await made.register(Url(url=f"https://{HOST}:{far.port}/a.tar.gz"))

    assert answers == [("10.0.0.1",)]


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (said("HTTP/1.1 302 Found\nlocation: https://127.0.0.1/x.tar\ncontent-length: 0"), InvalidInput, "SOURCE_REFUSED"),
        (said("HTTP/1.1 301 Moved\nlocation: http://models.example/x.tar\ncontent-length: 0"), InvalidInput, "SOURCE_REFUSED"),
        (said("HTTP/1.1 200 OK\ncontent-encoding: gzip\ncontent-length: 1", b"x"), InvalidInput, "SOURCE_REFUSED"),
        (said("HTTP/1.1 404 Not Found\ncontent-length: 0"), NotFound, "ARTEFACT_NOT_FOUND"),
        (said("HTTP/1.1 500 Broken\ncontent-length: 0"), Unavailable, "STORE_UNAVAILABLE"),
        (said(f"HTTP/1.1 200 OK\ncontent-length: {len(ARCHIVE) + 1}", ARCHIVE), Unavailable, "STORE_UNAVAILABLE"),
        (said(f"HTTP/1.1 200 OK\ncontent-length: {len(ARCHIVE) - 9}", ARCHIVE), InvalidInput, "BAD_ARCHIVE"),
        (said(f"HTTP/1.1 200 OK\ncontent-length: {1 << 40}", ARCHIVE), RequestTooLarge, "ARTEFACT_TOO_LARGE"),
        (said("this is no HTTP"), Unavailable, "STORE_UNAVAILABLE"),
        (endless(b"x" * (1 << 18)), RequestTooLarge, "ARTEFACT_TOO_LARGE"),
    ],
)
async def test_what_is_no_plain_answer_is_refused_and_leaves_nothing(tmp_path: Path, answer: Answer, kind: type[ServingError], reason: str):
    async with sender(tmp_path, answer) as far, intake(tmp_path) as made:
        refused = await refusal(made, f"https://{HOST}:{far.port}/a.tar.gz")

    assert (type(refused), refused.reason) == (kind, reason)
    assert len(far.asked) == 1


@pytest.mark.parametrize(
    "times",
    [
        HttpsTimes(grace_seconds=0.1, slowest_bytes_per_second=1e9),
        HttpsTimes(whole_seconds=1.0),
    ],
)
async def test_a_sender_that_drips_is_left(tmp_path: Path, times: HttpsTimes):
    async with sender(tmp_path, endless(b"x")) as far, intake(tmp_path, times) as made:
        refused = await refusal(made, f"https://{HOST}:{far.port}/a.tar")

    assert (type(refused), refused.reason) == (Unavailable, "STORE_UNAVAILABLE")


async def test_a_sender_whose_head_never_ends_is_left(tmp_path: Path):
    async def heads(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with sender(tmp_path, heads) as far, intake(tmp_path, HttpsTimes(connect_seconds=1.0, answer_seconds=0.5)) as made:
        refused = await refusal(made, f"https://{HOST}:{far.port}/a.tar")

    assert (type(refused), refused.reason) == (Unavailable, "STORE_UNAVAILABLE")


async def test_a_sender_with_another_names_certificate_is_told_nothing(tmp_path: Path):
    async with sender(tmp_path, whole(ARCHIVE), name="other.example") as far, intake(tmp_path) as made:
        refused = await refusal(made, f"https://{HOST}:{far.port}/a.tar")

    assert (type(refused), far.asked) == (Unavailable, [])


@pytest.mark.parametrize("url", [f"https://{HOST}/churn/", f"https://{HOST}/model.onnx", f"http://{HOST}/a.tar", f"https://{HOST}/a.tar?x"])
async def test_over_https_only_archives_are_fetched_and_over_http_nothing(tmp_path: Path, url: str):
    async with intake(tmp_path) as made:
        assert (await refusal(made, url)).reason == "SOURCE_REFUSED"


async def test_a_controller_fetches_as_its_settings_say(tmp_path: Path):
    put(tmp_path / "authorities.pem", AUTHORITY.pem)
    async with sender(tmp_path, whole(ARCHIVE), name="127.0.0.1") as far:
        start = f"https://127.0.0.1:{far.port}/"
        settings = ControllerSettings(
            state_dir=tmp_path / "state",
            sources=(start,),
            source_networks=("127.0.0.0/8",),
            source_authorities=tmp_path / "authorities.pem",
        )
        async with registering(settings, SystemClock()) as intake:
            request = RegistrationRequest(model="churn", version="1", source=Url(url=f"{start}churn.tar.gz"))
            (registered,) = await intake.registration.register(request, FakeBook())

            assert (await intake.store.manifest(registered.digest)).digest == registered.digest


@pytest.mark.parametrize(
    ("setting", "value"), [("source_networks", ("10.0.0.1/8",)), ("source_authorities", "absent.pem"), ("source_authorities", "/dev/null")]
)
async def test_settings_that_are_none_keep_a_controller_from_starting_and_are_named(tmp_path: Path, setting: str, value: object):
    settings = ControllerSettings(state_dir=tmp_path, **{setting: value})
    with pytest.raises(CannotStart, match=f"{setting}: "):
        async with registering(settings, SystemClock()):
            pass
