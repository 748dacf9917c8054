"""Certificates and authorities of the faces are replaced under 200 requests a second, and nobody notices.

Every fifth request opens a connection of its own, so that handshakes meet every state of the files; the others share a connection that
stays. The pair is replaced in two steps with requests in between, and callers move to their new authority while both are in force.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import pytest

from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.inference_pb2_grpc import GRPCInferenceServiceStub
from services.chassis.tls_files import TlsFiles
from services.router.grpc_engine import Engine
from services.router.grpc_front import GrpcOptions
from services.router.http_front import HttpOptions
from tests.authority import Authority, put, rsa_key, write_key
from tests.router.front_cases import UNBOUNDED, request
from tests.router.grpc_face import ENGINES, opened
from tests.router.http_raw import ids, infer
from tests.router.http_stand import on_uvloop, serving

pytestmark = pytest.mark.timeout(180)
RATE = 200.0
MOST_AT_ONCE = 32
"""A machine that cannot make so many handshakes a second asks as fast as it can: a queue of its own would be all that is measured."""
NEW_EVERY = 5
STEP = 40
"""Requests answered in every state of the files."""
PATIENCE_SECONDS = 40.0

Ask = Callable[[str, "Shown", bool], Awaitable[str]]
"""Sends a request with an id, on a connection of its own or not, and returns the answer's id."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a caller shows, and whom it believes."""

    trusted: bytes
    folder: Path
    credentials: grpc.ChannelCredentials

    def context(self) -> ssl.SSLContext:
        made = ssl.create_default_context(cadata=self.trusted.decode())
        made.load_cert_chain(self.folder / "chain.pem", self.folder / "key.pem")
        return made


@dataclass
class Files:
    """The files of a face, its two authorities, and what callers show."""

    folder: Path
    old: Authority = field(default_factory=Authority)
    new: Authority = field(default_factory=lambda: Authority("the next", key=4))
    callers: dict[Authority, Shown] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.old.issue().write(self.folder)
        put(self.folder / "ca.pem", self.old.pem)
        for authority in (self.old, self.new):
            own = self.folder / authority.name.rfc4514_string()
            own.mkdir()
            leaf = authority.issue(key=rsa_key(3))
            leaf.write(own)
            trusted = self.old.pem + self.new.pem
            credentials = grpc.ssl_channel_credentials(trusted, leaf.key_pem, leaf.pem)
            self.callers[authority] = Shown(trusted=trusted, folder=own, credentials=credentials)

    @property
    def served(self) -> TlsFiles:
        names = ("chain.pem", "key.pem", "ca.pem")
        chain, key, authorities = (self.folder / name for name in names)
        return TlsFiles(certificate_chain=chain, private_key=key, client_authorities=authorities)


class Asking:
    """Requests leave by the clock, whatever became of those before, as long as not too many are under way."""

    def __init__(self, ask: Ask, shown: Shown) -> None:
        self.shown = shown
        self.failures: list[str] = []
        self.answered = 0
        self._ask = ask
        self._room = asyncio.Semaphore(MOST_AT_ONCE)

    async def run(self) -> None:
        loop, sent = asyncio.get_running_loop(), 0
        began_at = loop.time()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._room.acquire()
                group.create_task(self.one(f"r{sent}", sent % NEW_EVERY == 0))
                sent += 1
                await asyncio.sleep(max(0.0, began_at + sent / RATE - loop.time()))

    async def one(self, request_id: str, is_new: bool) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                told = await self._ask(request_id, self.shown, is_new)
        except (OSError, EOFError, TimeoutError, grpc.aio.AioRpcError) as error:
            told = f"{type(error).__name__}: {error}"
        if told == request_id:
            self.answered += 1
        else:
            self.failures.append(f"{request_id}: {told}")
        self._room.release()

    async def step(self, change: Callable[[], object]) -> None:
        """Change something, and let some requests see it."""
        change()
        wanted = self.answered + STEP
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.answered < wanted and not self.failures:
                await asyncio.sleep(0.005)


async def rotated(files: Files, ask: Ask) -> Asking:
    """Replace everything under load; return what came of the requests."""
    asking, late = Asking(ask, files.callers[files.old]), files.new.issue(key=rsa_key(7))
    running = asyncio.create_task(asking.run())
    try:
        await asking.step(lambda: None)
        await asking.step(lambda: put(files.folder / "ca.pem", files.old.pem + files.new.pem))
        await asking.step(lambda: put(files.folder / "chain.pem", late.pem))
        await asking.step(lambda: write_key(files.folder / "key.pem", late.key_pem))
        await asking.step(lambda: setattr(asking, "shown", files.callers[files.new]))
        await asking.step(lambda: put(files.folder / "ca.pem", files.new.pem))
    finally:
        running.cancel()
        await asyncio.wait([running])
    return asking


@asynccontextmanager
async def http_asker(port: int, shown: Shown) -> AsyncGenerator[Ask]:
    """Ask over HTTP; requests that share a connection wait for each other."""
    turn = asyncio.Lock()

    async def connect(shown: Shown) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port, ssl=shown.context(), server_hostname="localhost")

    kept = await connect(shown)

    async def exchange(link: tuple[asyncio.StreamReader, asyncio.StreamWriter], request_id: str) -> str:
        reader, writer = link
        writer.write(infer(request_id=request_id))
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return ids(head + await reader.readexactly(length))[0]

    async def ask(request_id: str, shown: Shown, is_new: bool) -> str:
        if not is_new:
            async with turn:
                return await exchange(kept, request_id)
        link = await connect(shown)
        try:
            return await exchange(link, request_id)
        finally:
            link[1].close()

    try:
        yield ask
    finally:
        kept[1].close()


def grpc_asker(port: int, kept: grpc.aio.Channel) -> Ask:
    async def ask(request_id: str, shown: Shown, is_new: bool) -> str:
        asked = pb.ModelInferRequest.FromString(request(request_id))
        if not is_new:
            return (await GRPCInferenceServiceStub(kept).ModelInfer(asked)).id
        async with grpc.aio.secure_channel(f"localhost:{port}", shown.credentials, options=UNBOUNDED) as channel:
            return (await GRPCInferenceServiceStub(channel).ModelInfer(asked)).id

    return ask


async def told(ask: Ask, shown: Shown) -> str:
    """Return what becomes of one request on a connection of its own."""
    asking = Asking(ask, shown)
    await asking.one("last", is_new=True)
    return "answered" if asking.answered else "refused"


@on_uvloop
async def test_http_answers_all_while_certificates_and_authorities_are_replaced(tmp_path: Path):
    files = Files(tmp_path)
    async with serving(HttpOptions(port=0, tls=files.served)) as stand, http_asker(stand.port, files.callers[files.old]) as ask:
        asking = await rotated(files, ask)
        after = [await told(ask, files.callers[one]) for one in (files.new, files.old)]

    assert asking.failures == []
    assert after == ["answered", "refused"]


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine is not Engine.PYGRPC])
async def test_grpc_answers_all_while_certificates_and_authorities_are_replaced(engine: Engine, tmp_path: Path):
    files = Files(tmp_path)
    async with AsyncExitStack() as stack:
        face = await opened(stack, GrpcOptions(port=0, tls=files.served, engine=engine), files.callers[files.old].credentials)
        ask = grpc_asker(face.face.port, face.channel)
        asking = await rotated(files, ask)
        after = [await told(ask, files.callers[one]) for one in (files.new, files.old)]

    assert asking.failures == []
    assert after == ["answered", "refused"]
