"""A stack keeps its ports, and says so when it cannot."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from services.chassis.process import CannotStart
from services.stack.free_ports import Ports


def test_ports_are_the_same_the_next_time(tmp_path: Path):
    first = Ports(tmp_path / "ports.json", {}, print).take(("kafka", "kafka-controller"))
    second = Ports(tmp_path / "ports.json", {}, print).take(("kafka", "kafka-controller"))

    assert first == second
    assert len(set(first.values())) == 2


def test_a_kept_port_that_somebody_took_is_replaced_and_said_so(tmp_path: Path):
    said: list[str] = []
    former = Ports(tmp_path / "ports.json", {}, print).take(("redis",))["redis"]
    with socket.create_server(("127.0.0.1", former)):
        port = Ports(tmp_path / "ports.json", {}, said.append).take(("redis",))["redis"]

    assert port != former
    assert said == [f"port {former}, which redis had the last time, is taken: it gets another one"]


def test_a_port_that_was_asked_for_and_is_taken_names_the_port_its_holder_and_the_option(tmp_path: Path, free_port: int):
    with socket.create_server(("127.0.0.1", free_port)), pytest.raises(CannotStart) as refused:
        Ports(tmp_path / "ports.json", {"kafka": free_port}, print).take(("kafka", "kafka-controller"))

    assert f"port {free_port} is taken by process" in str(refused.value)
    assert "--kafka-port" in str(refused.value)


def test_two_servers_never_get_one_port(tmp_path: Path, free_ports: Callable[[int], list[int]]):
    (port,) = free_ports(1)
    (tmp_path / "ports.json").write_text(f'{{"redis": {port}, "postgres": {port}}}')
    ports = Ports(tmp_path / "ports.json", {}, print)

    assert ports.take(("redis",))["redis"] == port
    assert ports.take(("postgres",))["postgres"] != port


def test_what_cannot_be_read_is_no_memory(tmp_path: Path):
    (tmp_path / "ports.json").write_text("{")

    assert Ports(tmp_path / "ports.json", {}, print).take(("redis",))["redis"] > 0
