"""Settings: one tree, all problems together, invalid changes refused."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
from pydantic import BaseModel, ConfigDict, Field

from services.chassis.config import ConfigFile, InvalidConfig, Settings, load, override_tree
from tests.chassis.manual_clock import ManualClock


class Limits(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rows: int = Field(default=10, ge=1)
    max_bytes: int = 100


class SampleSettings(Settings, env_prefix="PENSTOCK_SAMPLE__"):
    port: int = Field(default=8000, ge=0, le=65535)
    name: str = "sample"
    limits: Limits = Limits()


def sample(file: Path | None = None, overrides=None, **environment: str) -> SampleSettings:
    return load(SampleSettings, file=file, overrides=overrides, environment={f"PENSTOCK_SAMPLE__{k}": v for k, v in environment.items()})


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def problems_of(*args, **kwargs) -> tuple[str, ...]:
    with pytest.raises(InvalidConfig) as refusal:
        sample(*args, **kwargs)
    return refusal.value.problems


def test_without_any_source_the_defaults_hold():
    assert sample() == SampleSettings()


def test_json_and_toml_files_are_read(tmp_path: Path):
    assert sample(written(tmp_path / "a.json", '{"port": 1, "limits": {"max_rows": 2}}')).limits.max_rows == 2
    assert sample(written(tmp_path / "a.toml", "port = 1\n[limits]\nmax_rows = 3")).limits.max_rows == 3


def test_nearer_sources_win_setting_by_setting(tmp_path: Path):
    file = written(tmp_path / "a.json", '{"port": 1, "name": "file", "limits": {"max_rows": 1, "max_bytes": 1}}')

    settings = sample(file, {"port": 3}, PORT="2", LIMITS__MAX_ROWS="2", NAME="environment")

    assert settings == SampleSettings(port=3, name="environment", limits=Limits(max_rows=2, max_bytes=1))


def test_a_nested_setting_may_come_as_json_from_the_environment():
    assert sample(LIMITS='{"max_rows": 4}').limits.max_rows == 4


def test_a_tree_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        sample().port = 1


def test_all_problems_are_reported_together_with_their_source(tmp_path: Path):
    file = written(tmp_path / "a.json", '{"port": 99999, "typo": 1}')

    problems = problems_of(file, {"name": 5}, LIMITS__MAX_ROWS="zero", LIMTS="1")

    assert len(problems) == 5
    for expected in ("environment PENSTOCK_SAMPLE__LIMTS", "port: ", "typo: ", "name: ", "limits.max_rows: "):
        assert any(problem.startswith(expected) for problem in problems), expected
    assert any(problem.startswith("port: ") and problem.endswith(f"(from {file})") for problem in problems)
    assert any(problem.startswith("name: ") and problem.endswith("(from --set)") for problem in problems)
    assert any(problem.startswith("limits.max_rows: ") and problem.endswith("(from environment)") for problem in problems)


@pytest.mark.parametrize("text", ["{", "[1]", '{"port": 1, "port": 2}', "\0"])
def test_a_file_that_is_no_object_of_settings_is_one_problem(tmp_path: Path, text: str):
    problems = problems_of(written(tmp_path / "a.json", text))

    assert len(problems) == 1
    assert "a.json" in problems[0]


def test_a_missing_file_is_a_problem(tmp_path: Path):
    assert "none.json" in problems_of(tmp_path / "none.json")[0]


def test_bad_json_in_the_environment_is_a_problem():
    assert "environment" in problems_of(LIMITS="{")[0]


def test_overrides_are_json_or_text_and_may_be_deep():
    assert override_tree(["port=1", "limits.max_rows=2", "limits.max_bytes=3", "name=a=b", "port=4"]) == {
        "port": 4,
        "limits": {"max_rows": 2, "max_bytes": 3},
        "name": "a=b",
    }


def test_an_override_without_a_sign_is_refused():
    with pytest.raises(InvalidConfig, match="name=value"):
        override_tree(["port"])


def test_a_reload_tells_listeners_what_holds_now(tmp_path: Path):
    config = ConfigFile(SampleSettings, path=written(tmp_path / "a.json", '{"port": 1}'))
    told: list[int] = []
    config.on_change(lambda settings: told.append(settings.port))
    written(tmp_path / "a.json", '{"port": 2}')

    assert config.reload()
    assert not config.reload()

    assert (config.current.port, told) == (2, [2])


@pytest.mark.parametrize("junk", ["{", '{"port": -1}', '{"prot": 1}'])
def test_an_invalid_reload_keeps_the_old_settings_and_says_so(tmp_path: Path, junk: str):
    config = ConfigFile(SampleSettings, path=written(tmp_path / "a.json", '{"port": 1}'))
    written(tmp_path / "a.json", junk)

    with structlog.testing.capture_logs() as logs:
        assert not config.reload()

    assert (config.current.port, config.rejected) == (1, 1)
    assert logs[0]["event"] == "config_rejected"
    assert logs[0]["problems"]


async def test_a_changed_file_is_reloaded_and_an_unchanged_one_is_not(tmp_path: Path):
    config = ConfigFile(SampleSettings, path=written(tmp_path / "a.json", '{"port": 1}'))
    told: list[int] = []
    config.on_change(lambda settings: told.append(settings.port))
    clock = ManualClock()
    task = asyncio.create_task(config.follow(clock))
    for text in ('{"port": 1}', '{"port": 22}', '{"port": 22, "oops": 1}', '{"port": 333}'):
        await clock.asleep()
        written(tmp_path / "a.json", text)
        clock.advance(1.0)
    await clock.asleep()

    assert told == [22, 333]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_setting_may_stand_in_a_file_that_the_environment_names(tmp_path: Path):
    assert sample(NAME_FILE=str(written(tmp_path / "name", "from a file\n"))).name == "from a file"
    assert sample(LIMITS__MAX_ROWS_FILE=str(written(tmp_path / "rows", "7\n"))).limits.max_rows == 7


def test_a_file_of_a_setting_that_is_missing_or_one_too_many_is_a_problem(tmp_path: Path):
    file = str(written(tmp_path / "name", "one"))

    assert "PENSTOCK_SAMPLE__NAME_FILE" in problems_of(NAME_FILE=str(tmp_path / "missing"))[0]
    assert "PENSTOCK_SAMPLE__NAME is set too" in problems_of(NAME_FILE=file, NAME="another")[0]
    assert "no such setting" in problems_of(TYPO_FILE=file)[0]


def test_a_variable_that_names_no_file_is_as_if_it_were_not_there():
    assert sample(NAME_FILE="").name == sample().name
    assert sample(NAME_FILE="", NAME="given").name == "given"


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_file_without_a_text_is_a_problem(tmp_path: Path, text: str):
    assert "PENSTOCK_SAMPLE__NAME_FILE: the file is empty" in problems_of(NAME_FILE=str(written(tmp_path / "name", text)))[0]
