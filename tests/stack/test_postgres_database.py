"""A server that was killed, and that nobody has reaped yet, holds the next start up until it is gone."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.stack.postgres_database import former_is_gone


@pytest.fixture
def former() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


async def test_a_start_waits_until_a_killed_server_is_reaped(tmp_path: Path, former: subprocess.Popen[bytes]):
    (tmp_path / "postmaster.pid").write_text(f"{former.pid}\n{tmp_path}\n")
    former.kill()
    waiting = asyncio.create_task(former_is_gone(tmp_path))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done

    await asyncio.to_thread(former.wait)
    await waiting


@pytest.mark.parametrize("content", [None, "", "what is this\n"])
async def test_without_a_former_server_a_start_waits_for_nobody(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "postmaster.pid").write_text(content)

    async with asyncio.timeout(10):
        await former_is_gone(tmp_path)
