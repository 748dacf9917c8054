"""Metrics, which nobody needs a key for, are not where the faces are unless somebody says so.

Any address of 127.0.0.0/8 stands for another machine here: what listens on 0.0.0.0 answers there, what listens on 127.0.0.1 does not.
"""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from tests.flows.serving import Served, serving

pytestmark = pytest.mark.timeout(180)
ELSEWHERE = "127.0.0.2"


def answered(host: str, port: int, path: str) -> int | None:
    """Return the status of an answer; None where nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def metrics_at(served: Served) -> tuple[int | None, int | None]:
    """Return what is answered to who asks here, and to who asks elsewhere."""
    port = port_of(served.record["metrics"])
    return answered("127.0.0.1", port, "/metrics"), answered(ELSEWHERE, port, "/metrics")


def test_faces_that_others_reach_do_not_take_the_metrics_with_them(tmp_path: Path, short_dir: Path):
    with serving(short_dir, tmp_path, "--host", "0.0.0.0", "--insecure-bind") as served:
        faces = port_of(served.record["http"])
        assert answered(ELSEWHERE, faces, "/livez") == 200
        assert answered(ELSEWHERE, faces, "/metrics") == 404
        assert metrics_at(served) == (200, None)
        assert served.record["metrics"].startswith("127.0.0.1:")
    assert served.events("metrics_open") == []


def test_metrics_are_where_they_are_told_to_be_and_nowhere_else(tmp_path: Path, short_dir: Path):
    with serving(short_dir, tmp_path, "--metrics-host", ELSEWHERE) as served:
        assert metrics_at(served) == (None, 200)
        assert answered(ELSEWHERE, port_of(served.record["http"]), "/livez") is None
        assert served.record["metrics"].startswith(f"{ELSEWHERE}:")


def test_metrics_that_others_reach_are_warned_of(tmp_path: Path, short_dir: Path):
    with serving(short_dir, tmp_path, "--metrics-host", "0.0.0.0") as served:
        assert metrics_at(served) == (200, 200)
    assert [(one["level"], one["host"]) for one in served.events("metrics_open")] == [("warning", "0.0.0.0")]
