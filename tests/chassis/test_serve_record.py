"""How other commands find a running serve."""

from __future__ import annotations

import json
import os
from pathlib import Path

import structlog

from penstock.cli.serve_records import running_serves
from services.chassis.parentage import start_ticks
from services.chassis.serve_record import ServeRecord, published


def record(folder: Path, host: str = "127.0.0.1") -> ServeRecord:
    return ServeRecord(
        http=f"{host}:8000", grpc=f"{host}:8001", metrics=f"{host}:8002", repository="/models", state_dir=folder, started_time=5.0
    )


def test_the_record_is_found_while_the_serve_runs_and_not_after(tmp_path: Path):
    with published(record(tmp_path), tmp_path / "runtime"):
        [found] = running_serves(tmp_path / "runtime")
        assert (found.process_id, found.http, found.grpc) == (os.getpid(), "127.0.0.1:8000", "127.0.0.1:8001")
        assert found.metrics == "127.0.0.1:8002"
        assert found.repository == "/models"
        assert json.loads((tmp_path / "serve.json").read_text())["process_start_ticks"] == start_ticks(os.getpid())

    assert running_serves(tmp_path / "runtime") == ()
    assert not (tmp_path / "serve.json").exists()


def test_records_of_killed_serves_are_removed(tmp_path: Path):
    listing = tmp_path / "runtime" / "serves"
    listing.mkdir(parents=True)
    for name in ("4194999.json", f"{os.getppid()}.json"):
        (listing / name).write_text("{}")

    with published(record(tmp_path), tmp_path / "runtime"):
        assert {path.name for path in listing.iterdir()} == {f"{os.getppid()}.json", f"{os.getpid()}.json"}


def test_a_listing_that_cannot_be_written_is_left_out(tmp_path: Path):
    (tmp_path / "runtime").write_text("no folder")

    with structlog.testing.capture_logs() as logs, published(record(tmp_path), tmp_path / "runtime"):
        assert (tmp_path / "serve.json").exists()

    assert [entry["event"] for entry in logs] == ["serve_not_listed"]


def test_without_a_runtime_folder_only_the_state_folder_tells(tmp_path: Path):
    with published(record(tmp_path), None):
        assert [path.name for path in tmp_path.iterdir()] == ["serve.json"]


def test_a_serve_that_listens_everywhere_is_found_here(tmp_path: Path):
    with published(record(tmp_path, "[::1]"), tmp_path / "runtime"):
        [found] = running_serves(tmp_path / "runtime")
        assert found.http == "[::1]:8000"


def test_a_process_that_is_gone_started_never():
    assert start_ticks(4_194_999) == 0
    assert start_ticks(os.getpid()) > 0
