"""The watched folder: newest value by key."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import structlog

from services.chassis.feeds import INLINE_BYTES, FolderFeed, FolderPublisher
from tests.chassis.manual_clock import ManualClock

Change = tuple[str, str | None]


def decode(content: bytes) -> str:
    return content.decode("ascii")


def encode(text: str) -> bytes:
    return text.encode("ascii")


class Following:
    """A feed, the clock that drives it, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.feed = FolderFeed(folder, decode, clock=self.clock)
        self.publisher = FolderPublisher(folder, encode)
        self.told: list[Change] = []

    def tell(self, key: str, value: str | None) -> None:
        self.told.append((key, value))

    async def look(self) -> list[Change]:
        """Let the feed look once and return what it told."""
        before = len(self.told)
        self.clock.advance(1.0)
        await self.clock.asleep()
        return self.told[before:]

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[Following]:
        task = asyncio.create_task(self.feed.follow(self.tell))
        await asyncio.wait_for(self.feed.caught_up(), 5)
        await self.clock.asleep()
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_the_first_look_tells_what_is_there(tmp_path: Path):
    following = Following(tmp_path)
    following.publisher.publish("b", "2")
    following.publisher.publish("a", "1")

    async with following.followed():
        assert sorted(following.told) == [("a", "1"), ("b", "2")]
        assert dict(following.feed.snapshot()) == {"a": "1", "b": "2"}


async def test_only_what_changed_is_told(tmp_path: Path):
    following = Following(tmp_path)
    following.publisher.publish("a", "1")
    following.publisher.publish("b", "2")

    async with following.followed():
        following.publisher.publish("a", "3")

        assert await following.look() == [("a", "3")]
        assert await following.look() == []


async def test_a_removed_file_ends_its_key(tmp_path: Path):
    following = Following(tmp_path)
    following.publisher.publish("a", "1")

    async with following.followed():
        following.publisher.publish("a", None)
        following.publisher.publish("a", None)

        assert await following.look() == [("a", None)]
        assert "a" not in following.feed.snapshot()


async def test_a_half_written_file_keeps_the_old_value_and_is_logged_once(tmp_path: Path):
    following = Following(tmp_path)
    following.publisher.publish("a", "1")

    with structlog.testing.capture_logs() as logs:
        async with following.followed():
            (tmp_path / "a.pb").write_bytes(b"\xff")
            assert await following.look() == []
            assert await following.look() == []
            assert following.feed.snapshot()["a"] == "1"
            (tmp_path / "a.pb").write_bytes(b"whole")
            assert await following.look() == [("a", "whole")]

    assert [entry["event"] for entry in logs] == ["feed_value_unreadable"]


async def test_a_file_that_never_had_a_value_is_not_told_when_it_goes(tmp_path: Path):
    following = Following(tmp_path)
    (tmp_path / "a.pb").write_bytes(b"\xff")

    async with following.followed():
        (tmp_path / "a.pb").unlink()

        assert await following.look() == []


async def test_drafts_and_foreign_files_are_no_values(tmp_path: Path):
    following = Following(tmp_path)
    for name in (".a.pb.7.tmp", ".hidden.pb", "readme.txt", ".lock"):
        (tmp_path / name).write_bytes(b"1")

    async with following.followed():
        assert following.told == []


async def test_a_folder_that_goes_away_changes_nothing_and_may_come_back(tmp_path: Path):
    folder = tmp_path / "feed"
    following = Following(folder)
    following.publisher.publish("a", "1")

    with structlog.testing.capture_logs() as logs:
        async with following.followed():
            folder.rename(tmp_path / "away")
            assert await following.look() == []
            assert await following.look() == []
            assert following.feed.snapshot()["a"] == "1"
            (tmp_path / "away").rename(folder)
            following.publisher.publish("a", "2")
            assert await following.look() == [("a", "2")]

    assert [entry["event"] for entry in logs] == ["feed_folder_unreadable"]


async def test_a_large_value_is_read_too(tmp_path: Path):
    following = Following(tmp_path)

    async with following.followed():
        following.publisher.publish("a", "x" * (INLINE_BYTES + 1))
        following.clock.advance(1.0)
        await asyncio.wait_for(following.clock.asleep(), 5)

        assert len(following.feed.snapshot()["a"]) == INLINE_BYTES + 1


async def test_a_second_follower_is_refused(tmp_path: Path):
    async with Following(tmp_path).followed() as following:
        with pytest.raises(RuntimeError, match="followed already"):
            await following.feed.follow(following.tell)


async def test_following_again_tells_everything_again(tmp_path: Path):
    following = Following(tmp_path)
    following.publisher.publish("a", "1")

    async with following.followed():
        pass
    async with following.followed():
        pass

    assert following.told == [("a", "1"), ("a", "1")]


async def test_the_follower_runs_on_the_real_clock(tmp_path: Path):
    feed = FolderFeed(tmp_path, decode)
    changed = asyncio.Event()
    task = asyncio.create_task(feed.follow(lambda _key, _value: changed.set()))
    await asyncio.wait_for(feed.caught_up(), 5)
    FolderPublisher(tmp_path, encode).publish("a", "1")

    await asyncio.wait_for(changed.wait(), 5)

    assert feed.snapshot() == {"a": "1"}
    task.cancel()


@pytest.mark.parametrize("key", ["", ".a", "a/b", "../a", "a\0b"])
def test_a_key_that_cannot_name_a_file_is_refused(tmp_path: Path, key: str):
    with pytest.raises(ValueError, match="cannot name a file"):
        FolderPublisher(tmp_path, encode).publish(key, "1")

    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_the_machine_did_not_give_out_is_read_at_the_next_look(tmp_path: Path):
    refusals = [OSError(errno.ENFILE, "Too many open files in system")] * 3

    def decode(content: bytes) -> str:
        if refusals:
            raise refusals.pop()
        return content.decode()

    FolderPublisher(tmp_path, str.encode).publish("a", "1")
    feed, told = FolderFeed(tmp_path, decode), asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(feed.follow(lambda _key, _value: told.set()))
        async with asyncio.timeout(20):
            await told.wait()
        task.cancel()

    assert dict(feed.snapshot()) == {"a": "1"}
    assert [entry["event"] for entry in logs] == ["feed_value_unreadable"]
