"""The start of a service."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.chassis.children import script

SERVICE = """
from contextlib import asynccontextmanager
import structlog
from services.chassis.config import Settings
from services.chassis.entry import main
from services.chassis.logs import Level
from services.chassis.process import Hooks

class SampleSettings(Settings, env_prefix="PENSTOCK_SAMPLE__"):
    port: int = 8000
    log_level: Level = "info"

@asynccontextmanager
async def app(start):
    config = start.config
    print("port", config.current.port)
    structlog.get_logger("app").info("opened")
    config.on_change(lambda settings: print("port", settings.port))
    yield Hooks(reload=config.reload)

main("sample", SampleSettings, app)
"""


def test_a_service_reads_file_environment_and_command_line(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"port": 1}')
    with script(SERVICE, "--config", str(tmp_path / "a.json"), "--set", "port=3", PENSTOCK_SAMPLE__PORT="2") as service:
        assert service.line() == "port 3"
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert [json.loads(line)["event"] for line in service.errors().splitlines()] == ["opened", "stopping"]


def test_invalid_settings_end_the_service_with_all_problems(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"port": "x", "prot": 1}')
    with script(SERVICE, "--config", str(tmp_path / "a.json")) as service:
        assert service.wait() == 78
        errors = service.errors()

    assert errors.startswith("error: invalid configuration:\n")
    assert "port: " in errors
    assert "prot: " in errors


def test_a_log_that_cannot_be_written_ends_the_service_with_its_place(tmp_path: Path):
    (tmp_path / "file").touch()
    log = tmp_path / "file" / "logs" / "up.log"
    with script(SERVICE.replace("app)", f"app, log_path=lambda _: __import__('pathlib').Path({str(log)!r}))")) as service:
        assert service.wait() == 1
        errors = service.errors()

    assert errors == f"error: the log {log} cannot be written: Not a directory; name another folder with --state-dir\n"


def test_sighup_reloads_and_an_invalid_file_keeps_the_old_settings(tmp_path: Path):
    file = tmp_path / "a.json"
    file.write_text('{"port": 1}')
    with script(SERVICE, "--config", str(file)) as service:
        assert service.line() == "port 1"
        file.write_text("junk")
        service.signal(signal.SIGHUP)
        file_is_rejected = json.loads(service.process.stderr.readline())["event"], json.loads(service.process.stderr.readline())["event"]
        file.write_text('{"port": 5, "log_level": "warning"}')
        service.signal(signal.SIGHUP)

        assert file_is_rejected == ("opened", "config_rejected")
        assert service.line() == "port 5"
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "stopping" not in service.errors()
