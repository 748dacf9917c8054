"""Where servers come from, and what is said when they come from nowhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.chassis.process import CannotStart
from services.stack.recipe import MissingTool, Origin, Recipe
from services.stack.recipes import RECIPES
from services.stack.servers import Servers
from services.stack.versions import is_at_least
from tests.stack.recipes import surroundings

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


def program(folder: Path, name: str, says: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but a shell; the folder takes programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def test_servers_start_in_the_order_in_which_others_need_them():
    assert [recipe.name for recipe in RECIPES] == ["redis", "postgres", "kafka", "temporal"]


@pytest.mark.parametrize(
    ("recipe", "command"),
    [
        (BY_NAME["redis"], "apt-get install redis-server"),
        (BY_NAME["kafka"], "apt-get install openjdk-17-jre-headless"),
        (BY_NAME["temporal"], "https://go.dev/dl"),
    ],
)
async def test_a_missing_tool_is_named_with_what_installs_it(tmp_path: Path, bare: Path, recipe: Recipe, command: str):
    with pytest.raises(MissingTool, match=recipe.name) as missing:
        await recipe.find(surroundings(tmp_path).sources)

    assert command in str(missing.value)


async def test_without_maven_a_cold_cache_names_maven(tmp_path: Path, bare: Path):
    program(bare, "java", 'openjdk version "17.0.15" 2025-04-15')

    with pytest.raises(MissingTool, match="apt-get install maven"):
        await BY_NAME["kafka"].find(surroundings(tmp_path).sources)


@pytest.mark.parametrize("says", ['openjdk version "11.0.2" 2019-01-15', 'java version "1.8.0_402"', "segmentation fault"])
async def test_a_java_that_is_too_old_counts_as_missing(tmp_path: Path, bare: Path, says: str):
    program(bare, "java", says)

    with pytest.raises(MissingTool, match="Java 17 or newer"):
        await BY_NAME["kafka"].find(surroundings(tmp_path).sources)


async def test_a_redis_that_is_too_old_counts_as_missing(tmp_path: Path, bare: Path):
    program(bare, "redis-server", "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64")

    with pytest.raises(MissingTool, match=r"redis-server 7\.0 or newer"):
        await BY_NAME["redis"].find(surroundings(tmp_path).sources)


async def test_an_installed_temporal_is_preferred_to_a_build(tmp_path: Path, bare: Path):
    program(bare, "temporal", "temporal version 1.4.0 (Server 1.28.0, UI 2.39.0)")

    found = await BY_NAME["temporal"].find(surroundings(tmp_path).sources)

    assert (found.origin, found.version) == (Origin.PATH, "1.4.0")


async def test_everything_that_is_missing_is_named_at_once_and_nothing_is_fetched(tmp_path: Path, bare: Path):
    program(bare, "java", 'openjdk version "21.0.1" 2023-10-17')
    program(bare, "mvn", "this must not run")
    around = surroundings(tmp_path)
    with pytest.raises(CannotStart) as refused:
        await Servers(around).find_all([BY_NAME[name] for name in ("redis", "kafka", "temporal")])

    assert "redis needs" in str(refused.value)
    assert "temporal needs" in str(refused.value)
    assert not (tmp_path / "cache").exists()


async def test_a_failing_download_shows_the_end_of_what_the_tool_said(tmp_path: Path, bare: Path):
    program(bare, "java", 'openjdk version "17.0.15" 2025-04-15')
    program(bare, "mvn", "Could not transfer artifact: Checksum validation failed")
    (bare / "mvn").write_text((bare / "mvn").read_text() + "exit 1\n")

    with pytest.raises(CannotStart, match=r"downloading Kafka .* failed(.|\n)*Checksum validation failed"):
        await BY_NAME["kafka"].find(surroundings(tmp_path).sources)


@pytest.mark.parametrize(
    ("version", "oldest", "expected"), [("7.0.15", "7.0", True), ("7", "7.0", False), ("15.18", "13", True), ("1.10.0", "1.5.1", True)]
)
def test_versions_are_compared_by_number(version: str, oldest: str, expected: bool):
    assert is_at_least(version, oldest) is expected
