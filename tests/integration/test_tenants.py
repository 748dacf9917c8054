"""Tenants of the catalogue as a router on real Kafka knows them. The broker is the test's own: a tenant closes every router on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from penstock import Client, ClientOptions, ServingError
from penstock.client.control import Control
from penstock.client.retry import RetryPolicy
from tests.integration.processes import events, process, until
from tests.kafka_broker import running_broker

PACE_SECONDS = 0.01
MOST_LET_IN = 100
"""Calls at that pace in a second: how many may get through after the controller has answered."""


def port_of(folder: Path, name: str, log: Path) -> int:
    until((folder / "s" / "ready" / name).exists, log)
    return json.loads((folder / "s" / "ready" / name).read_text())["grpc"]


def reason(port: int, key: str | None) -> str:
    """Return why a request for a model that is not there is refused: whoever may call hears that, everybody else of the key."""
    with Client(f"127.0.0.1:{port}", ClientOptions(api_key=key, retries=RetryPolicy(attempts=1), timeout_seconds=10.0)) as client:
        with pytest.raises(ServingError) as refused:
            client.predict("absent", {"x": np.ones((1, 1), np.float32)})
        return refused.value.reason


def control_of(port: int, key: str | None = None) -> Control:
    return Control(f"127.0.0.1:{port}", ClientOptions(api_key=key, retries=RetryPolicy(attempts=8), timeout_seconds=30))


def let_in_until_refused(port: int, key: str) -> int:
    """Call on and on; return how many calls got through before the first refusal, after which none may."""
    let_in = 0
    while reason(port, key) != "UNAUTHENTICATED":
        let_in += 1
        assert let_in <= MOST_LET_IN
        time.sleep(PACE_SECONDS)
    assert {reason(port, key) for _ in range(50)} <= {"UNAUTHENTICATED", "TOO_MANY_WRONG_KEYS"}
    return let_in


@pytest.mark.timeout(180)
def test_a_revoked_key_is_refused_at_once_and_by_a_router_that_starts_without_the_bus(
    short_dir: Path, free_ports: Callable[[int], list[int]]
):
    with running_broker(short_dir / "kafka", free_ports(2)) as broker:
        revoked, kept = _revoked_and_kept(short_dir, broker.bus.bootstrap_servers)
    with _router(short_dir, broker.bus.bootstrap_servers) as log:
        port = port_of(short_dir, "router-0", log)

        assert [reason(port, key) for key in (None, revoked, kept)] == ["UNAUTHENTICATED", "UNAUTHENTICATED", "MODEL_NOT_FOUND"]
        started = {event["topic"] for event in events(log, "feed_started_from_snapshot")}
        assert started >= {"penstock.tenants.v1", "penstock.routes.v1"}


def _revoked_and_kept(folder: Path, kafka: str) -> tuple[str, str]:
    """Make two keys, use both, revoke one; return both."""
    with (
        process(folder, "controller", grpc_port=0, http_port=0, bus={"bootstrap_servers": kafka}) as controller,
        _router(folder, kafka) as log,
        _router(folder, kafka, "router-1") as other,
    ):
        mesh, ports = port_of(folder, "controller-0", controller), [port_of(folder, "router-0", log), port_of(folder, "router-1", other)]
        assert [reason(port, None) for port in ports] == ["MODEL_NOT_FOUND"] * 2
        with control_of(mesh) as control:
            control.set_tenant("acme", '{"admin": true}')
            kept = control.create_key("acme").key
        with control_of(mesh, kept) as control:
            made = control.create_key("acme")
            opened = ["UNAUTHENTICATED", "MODEL_NOT_FOUND"]
            until(lambda: all([reason(port, key) for key in (None, made.key)] == opened for port in ports), log)
            # One was used at the router, the other at the controller only.
            until(lambda: all(key.last_used_time > 0 for tenant in control.tenants() for key in tenant.keys), log)
            control.revoke_key("acme", made.record.key_id)
            for port in ports:
                let_in_until_refused(port, made.key)
                assert reason(port, kept) == "MODEL_NOT_FOUND"
        return made.key, kept


def _router(folder: Path, kafka: str, name: str = "router-0") -> AbstractContextManager[Path]:
    return process(folder, "router", name=name, router_id=name, grpc_port=0, http_port=0, bus={"bootstrap_servers": kafka})
