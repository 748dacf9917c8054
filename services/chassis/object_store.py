"""Objects in a local folder, in memory or in an object store (S3, GCS, Azure), with deadlines and errors of ours.

    objects = open_objects("s3://models/registry", {"endpoint": "http://127.0.0.1:9000", "allow_http": "true"})

A store that does not answer, refuses us or breaks off is `Unavailable` with the reason STORE_UNAVAILABLE; what is not there is `NotFound`
with ARTEFACT_NOT_FOUND. What the store itself says is logged, never passed on: it may hold addresses and keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from penstock.contracts.errors import InvalidInput, NotFound, RequestTooLarge, Unavailable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CHUNK_BYTES = 1 << 20
"""Least bytes of one chunk of a stream, the last one excepted."""

PART_BYTES = 8 << 20
"""Bytes of one part of an upload; S3 takes no fewer than 5 MiB and no more than 10,000 parts."""

SLOWEST_BYTES_PER_SECOND = 1 << 20
"""An upload gets the time that it needs at this rate, beside `answer_seconds`."""

CLOUDS: Mapping[str, type[S3Store | GCSStore | AzureStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTimes:
    """How long a store may take."""

    connect_seconds: float = 5.0
    answer_seconds: float = 20.0
    """Until the first byte of an answer, and between two chunks of it."""
    retries: int = 2
    """Of a request that the store refused for the moment, within `answer_seconds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object in a listing."""

    name: str
    size: int


class Objects:
    """One bucket, folder or memory, and a prefix in it."""

    def __init__(self, store: ObjectStore, times: StoreTimes, *, shown: str) -> None:
        """Store the arguments; `shown` names the store in messages, without keys."""
        self._store = store
        self._times = times
        self.shown = shown

    async def size(self, name: str) -> int | None:
        """Return the bytes of an object; None when it is not there."""
        try:
            async with self._asked(name):
                return int((await obstore.head_async(self._store, name))["size"])
        except NotFound:
            return None

    async def read(self, name: str, *, limit: int) -> bytes:
        """Return a small object whole.

        Raises:
            NotFound: it is not there.
            RequestTooLarge: it has more bytes than `limit`.
            Unavailable: the store does not answer.
        """
        content = bytearray()
        async for chunk in self.chunks(name):
            content += chunk
            if len(content) > limit:
                raise RequestTooLarge(f"{name} in {self.shown} has more than {limit} bytes", reason="ARTEFACT_TOO_LARGE")
        return bytes(content)

    async def chunks(self, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """Yield an object's bytes from an offset on; the offset is within the object.

        Raises:
            NotFound: it is not there.
            Unavailable: the store does not answer, or breaks off; what was yielded is right so far.
        """
        async with self._asked(name):
            # A range that starts at 0 is refused for an empty object.
            options: Any = {"range": {"offset": offset}} if offset else {}
            answer = await obstore.get_async(self._store, name, options=options)
            stream = answer.stream(min_chunk_size=CHUNK_BYTES)
        while True:
            async with self._asked(name):
                try:
                    chunk = await anext(stream)
                except StopAsyncIteration:
                    return
            yield chunk

    async def put(self, name: str, content: bytes) -> None:
        """Write a small object at once.

        Raises:
            Unavailable: the store does not take it; nothing of it can be seen.
        """
        async with self._asked(name, extra_bytes=len(content)):
            await obstore.put_async(self._store, name, content, use_multipart=False)

    async def put_stream(self, name: str, content: AsyncIterator[bytes], *, size: int) -> None:
        """Write a large object in parts; what `content` raises ends the upload and is raised.

        Raises:
            Unavailable: the store does not take it; nothing of it can be seen.
        """
        failures: list[BaseException] = []
        try:
            async with self._asked(name, extra_bytes=size):
                parts = _watched(content, failures)
                await obstore.put_async(self._store, name, parts, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=4)
        except Unavailable:
            if failures:
                raise failures[0] from None
            raise

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield every object below a prefix, in no order."""
        with self._translated(prefix):
            listing = aiter(obstore.list(self._store, prefix or None))
        while True:
            async with self._asked(prefix):
                try:
                    batch = await anext(listing)
                except StopAsyncIteration:
                    return
            for one in batch:
                yield StoredObject(name=str(one["path"]), size=int(one["size"]))

    async def delete(self, name: str) -> None:
        """Remove an object; nothing happens when it is not there."""
        try:
            async with self._asked(name):
                await obstore.delete_async(self._store, name)
        except NotFound:
            return

    @asynccontextmanager
    async def _asked(self, name: str, *, extra_bytes: int = 0) -> AsyncGenerator[None]:
        seconds = self._times.answer_seconds + extra_bytes / SLOWEST_BYTES_PER_SECOND
        try:
            with self._translated(name):
                async with asyncio.timeout(seconds):
                    yield
        except TimeoutError as error:
            raise self._away(name, f"did not answer within {seconds:g} s") from error

    @contextmanager
    def _translated(self, name: str) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"{name} is not in {self.shown}", reason="ARTEFACT_NOT_FOUND") from error
        except (BaseError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            log.warning("object_store_failed", store=self.shown, name=name, error=f"{type(error).__name__}: {str(error)[:500]}")
            raise self._away(name, "failed; the log says why") from error

    def _away(self, name: str, what: str) -> Unavailable:
        return Unavailable(f"the object store {self.shown} {what} ({name})", reason="STORE_UNAVAILABLE", retry_after_seconds=1.0)


def open_objects(url: str, options: Mapping[str, str] | None = None, times: StoreTimes | None = None) -> Objects:
    """Open a store; nothing is connected yet.

    Args:
        url: `file:///folder` (created when it is missing), `memory://`, `s3://bucket/prefix`, `gs://…` or `az://…`.
        options: the store's own, for example `endpoint`, `region`, `access_key_id`; else from the environment (`AWS_…`).
        times: its deadlines.

    Raises:
        InvalidInput: no such scheme, or an option that the store does not know.
        Unavailable: the folder cannot be made.
    """
    times = times or StoreTimes()
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    if parts.scheme == "memory":
        return Objects(MemoryStore(), times, shown=shown)
    if parts.scheme == "file" and not parts.netloc:
        try:
            return Objects(LocalStore(parts.path, mkdir=True), times, shown=shown)
        except (BaseError, OSError) as error:
            raise Unavailable(f"the folder {parts.path} cannot be used as a store", reason="STORE_UNAVAILABLE") from error
    kind = CLOUDS.get(parts.scheme)
    if kind is None or not parts.hostname:
        known = ", ".join(f"{scheme}://" for scheme in ("file", "memory", *CLOUDS))
        raise InvalidInput(f"{shown[:80]!r} names no object store: use {known}", reason="SOURCE_REFUSED", field="url")
    try:
        store = cast("Any", kind).from_url(url, client_options=_client(times, options or {}), retry_config=_retries(times), **_own(options))
    except BaseError as error:
        raise InvalidInput(f"the options of {shown[:80]!r} are not valid", reason="BAD_VALUE", field="options") from error
    return Objects(store, times, shown=shown)


def _client(times: StoreTimes, options: Mapping[str, str]) -> dict[str, Any]:
    # No proxies from the environment, no redirects to strangers: the store is where its URL says.
    limits: dict[str, Any] = {
        "connect_timeout": f"{times.connect_seconds:g}s",
        "timeout": "3600s",
        "read_timeout": f"{times.answer_seconds:g}s",
    }
    return limits | ({"allow_http": True} if options.get("allow_http") == "true" else {})


def _retries(times: StoreTimes) -> dict[str, Any]:
    return {"max_retries": times.retries, "retry_timeout": timedelta(seconds=times.answer_seconds)}


def _own(options: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (options or {}).items() if key != "allow_http"}


async def _watched(content: AsyncIterator[bytes], failures: list[BaseException]) -> AsyncIterator[bytes]:
    """Keep what a stream raises: the store's library turns it into an error of its own."""
    try:
        async for chunk in content:
            yield chunk
    except Exception as error:
        failures.append(error)
        raise
