"""`/metrics` over real sockets, and several processes shown as one."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import uvloop
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from services.chassis import metrics_server
from services.chassis.aggregate import Aggregate, merge, scrape
from services.chassis.metrics import CounterFamily, GaugeFamily, HistogramFamily, Merge, registry
from services.chassis.metrics_server import MetricsServer, ScrapeSettings, shown
from services.chassis.process import CannotStart
from services.chassis.process_metrics import ProcessUse
from tests.chassis.children import script


def server(*collectors) -> MetricsServer:
    return MetricsServer(shown(registry(*collectors)))


async def asked(port: int, path: str = "/metrics", method: str = "GET", accept: str = "*/*") -> tuple[int, dict[str, str], bytes]:
    def ask():
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    return await asyncio.to_thread(ask)


def counted(value: float = 3) -> CounterFamily:
    family = CounterFamily("penstock_requests", "Requests.")
    family.of().value = value
    return family


async def test_text_is_the_default_and_openmetrics_is_given_to_who_asks():
    async with server(counted()).on_port("127.0.0.1", 0) as port:
        status, headers, body = await asked(port)
        _, open_headers, open_body = await asked(port, accept="application/openmetrics-text; version=1.0.0,text/plain;q=0.5")

    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"penstock_requests_total 3.0" in body
    assert open_headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert open_body.endswith(b"# EOF\n")


async def test_head_has_the_length_and_no_body():
    async with server(counted()).on_port("127.0.0.1", 0) as port:
        _, full, body = await asked(port)
        status, headers, nothing = await asked(port, method="HEAD")

    assert (status, headers["Content-Length"], nothing) == (200, full["Content-Length"], b"")
    assert int(full["Content-Length"]) == len(body)


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/metricsx", "GET", 404), ("/metrics", "POST", 405), ("/metrics?a=1", "GET", 200)]
)
async def test_other_requests_are_refused(path: str, method: str, status: int):
    async with server(counted()).on_port("127.0.0.1", 0) as port:
        assert (await asked(port, path, method))[0] == status


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\r\n\r\n", b"GET /metrics\r\n\r\n", b"x" * 20_000])
async def test_junk_harms_nobody(junk: bytes):
    async with server(counted()).on_port("127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(junk)
        await asyncio.wait_for(reader.read(), 10)
        writer.close()

        assert (await asked(port))[0] == 200


async def test_a_silent_connection_is_closed_in_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics_server, "READ_SECONDS", 0.05)
    async with server(counted()).on_port("127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_connections_over_the_limit_are_closed_and_closing_waits_for_none():
    async with server(counted()).on_port("127.0.0.1", 0) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(metrics_server.CONNECTIONS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        assert await asyncio.wait_for(reader.read(), 10) == b""
    for _, each in [*held, (reader, writer)]:
        each.close()


async def test_a_taken_port_is_an_error():
    async with server(counted()).on_port("127.0.0.1", 0) as port:
        with pytest.raises(OSError, match="in use"):
            async with server(counted()).on_port("127.0.0.1", port):
                pass


async def test_a_unix_socket_is_private_replaces_a_leftover_and_goes_away(short_dir: Path):
    path = short_dir / "router-0.sock"
    path.touch()
    async with server(counted()).on_socket(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "penstock_requests_total 3.0" in await scrape(path)

    assert not path.exists()


def test_sockets_and_ports_are_served_on_uvloop_too(short_dir: Path):
    async def serve() -> tuple[str, int]:
        async with server(counted()).on_socket(short_dir / "a.sock"), server(counted()).on_port("127.0.0.1", 0) as port:
            return await scrape(short_dir / "a.sock"), (await asked(port))[0]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        text, status = runner.run(serve())

    assert "penstock_requests_total 3.0" in text
    assert status == 200
    assert not (short_dir / "a.sock").exists()


async def samples(aggregate: Aggregate) -> dict[str, float]:
    metrics = await aggregate.collect()
    return {sample.name + json.dumps(sample.labels, sort_keys=True): sample.value for metric in metrics for sample in metric.samples}


async def test_equal_series_of_processes_are_added_up(short_dir: Path):
    latency = HistogramFamily("penstock_seconds", "Time.")
    latency.of().add(1_000)
    paths = {"router-0": short_dir / "a.sock", "router-1": short_dir / "b.sock"}
    async with server(counted(3), latency).on_socket(paths["router-0"]), server(counted(4), latency).on_socket(paths["router-1"]):
        seen = await samples(Aggregate(paths))

    assert seen["penstock_requests_total{}"] == 7
    assert seen["penstock_seconds_count{}"] == 2
    assert seen['penstock_seconds_bucket{"le": "0.001024"}'] == 2
    assert seen['penstock_seconds_bucket{"le": "0.000768"}'] == 0


async def test_a_process_that_is_gone_is_shown_as_last_seen_and_counted(short_dir: Path):
    paths = {"router-0": short_dir / "a.sock"}
    aggregate = Aggregate(paths)
    async with server(counted(3)).on_socket(paths["router-0"]):
        await samples(aggregate)

    seen = await samples(aggregate)

    assert seen["penstock_requests_total{}"] == 3
    assert seen['penstock_scrape_failures_total{"process": "router-0"}'] == 1


async def test_a_process_that_does_not_answer_holds_nobody(short_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.chassis.aggregate.SCRAPE_SECONDS", 0.05)
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_unix_server(lambda _reader, writer: held.append(writer), short_dir / "silent.sock")
    async with server(counted(3)).on_socket(short_dir / "a.sock"):
        seen = await samples(Aggregate({"hung": short_dir / "silent.sock", "router-0": short_dir / "a.sock"}))

    assert seen["penstock_requests_total{}"] == 3
    assert seen['penstock_scrape_failures_total{"process": "hung"}'] == 1
    for each in (*held, silent):
        each.close()


async def test_who_did_not_answer_is_marked_and_waited_for_less_the_next_time(short_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.chassis.aggregate.STALE_SCRAPE_SECONDS", 0.01)
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_unix_server(lambda _reader, writer: held.append(writer), short_dir / "w.sock")
    aggregate = Aggregate({"worker-0": short_dir / "w.sock"})
    await samples(aggregate)
    monkeypatch.setattr("services.chassis.aggregate.SCRAPE_SECONDS", 60.0)
    stale = await samples(aggregate)
    for each in (*held, silent):
        each.close()
    (short_dir / "w.sock").unlink()
    monkeypatch.setattr("services.chassis.aggregate.STALE_SCRAPE_SECONDS", 5.0)
    async with server(counted(3)).on_socket(short_dir / "w.sock"):
        fresh = await samples(aggregate)

    assert stale['penstock_scrape_stale{"process": "worker-0"}'] == 1
    assert fresh['penstock_scrape_stale{"process": "worker-0"}'] == 0


CHILD = """
import asyncio, sys
from pathlib import Path
from services.chassis.metrics import CounterFamily, registry
from services.chassis.metrics_server import MetricsServer, ScrapeSettings, shown
from services.chassis.process import CannotStart
from services.chassis.process_metrics import ProcessUse

async def main():
    family = CounterFamily("penstock_requests", "Requests.")
    family.of().value = float(sys.argv[2])
    async with MetricsServer(shown(registry(family, ProcessUse()))).on_socket(Path(sys.argv[1])):
        print("up")
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_what_a_killed_process_had_counted_is_kept(short_dir: Path):
    path = short_dir / "w.sock"
    aggregate = Aggregate({"worker-0": path})
    seen = []
    for value in ("5", "7"):
        with script(CHILD, str(path), value) as child:
            assert await asyncio.to_thread(child.line) == "up"
            seen.append((await samples(aggregate))["penstock_requests_total{}"])
            seen.append((await samples(aggregate))["penstock_requests_total{}"])
            child.signal(signal.SIGKILL)

    assert seen == [5, 5, 12, 12]


def test_gauges_follow_their_mark():
    def gauge(merge_rule: Merge, value: float) -> Metric:
        family = GaugeFamily(f"penstock_{merge_rule.name.lower()}", "Waiting.", merge=merge_rule)
        family.of().value = value
        return next(iter(family.collect()))

    merged = merge({"a": [gauge(rule, 2) for rule in Merge], "b": [gauge(rule, 5) for rule in Merge]})

    assert {(s.name, tuple(s.labels.values())): s.value for m in merged for s in m.samples} == {
        ("penstock_sum", ()): 7,
        ("penstock_largest", ()): 5,
        ("penstock_each", ("a",)): 2,
        ("penstock_each", ("b",)): 5,
    }


async def test_the_newest_exemplar_is_kept_and_shown_again(short_dir: Path):
    paths = {name: short_dir / f"{name}.sock" for name in "ab"}
    families = {name: HistogramFamily("penstock_seconds", "Time.") for name in "ab"}
    families["a"].of().add_traced(1_000, {"trace_id": "older"}, 1.0)
    families["b"].of().add_traced(1_000, {"trace_id": "newer"}, 2.0)
    async with server(families["a"]).on_socket(paths["a"]), server(families["b"]).on_socket(paths["b"]):
        metrics = await Aggregate(paths).collect()
    async with MetricsServer(shown(registry(metrics_server.Gathered(metrics)))).on_port("127.0.0.1", 0) as port:
        _, _, body = await asked(port, accept="application/openmetrics-text")

    [seconds] = [family for family in text_string_to_metric_families(body.decode()) if family.name == "penstock_seconds"]
    assert [sample.exemplar.labels for sample in seconds.samples if sample.exemplar] == [{"trace_id": "newer"}]


def test_a_process_tells_what_it_uses():
    use = ProcessUse()
    first, second = ({metric.name: metric.samples[0].value for metric in use.collect()} for _ in range(2))

    assert first["process_resident_memory_bytes"] > 1e6
    assert first["process_open_fds"] > 2
    assert first["process_cpu_seconds"] > 0
    assert first["process_start_time_seconds"] == second["process_start_time_seconds"]


async def test_a_process_shows_the_same_on_its_socket_and_on_the_port_that_it_is_given(tmp_path: Path, free_port: int):
    async with server(counted()).opened(tmp_path / "metrics" / "one.sock", ScrapeSettings(port=free_port)):
        assert (await asked(free_port))[0] == 200
        assert "penstock_requests_total 3.0" in await scrape(tmp_path / "metrics" / "one.sock")

        with pytest.raises(CannotStart, match=f"{free_port}.*scrape.port"):
            async with server(counted()).opened(tmp_path / "metrics" / "two.sock", ScrapeSettings(port=free_port)):
                pass


async def test_a_process_shows_its_metrics_on_the_host_that_it_is_given_and_no_other(tmp_path: Path, free_port: int):
    async with server(counted()).opened(tmp_path / "one.sock", ScrapeSettings(host="127.0.0.2", port=free_port)):
        with pytest.raises(urllib.error.URLError, match="refused"):
            await asked(free_port)
        reader, writer = await asyncio.open_connection("127.0.0.2", free_port)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"penstock_requests_total 3.0" in await reader.read()
        writer.close()


async def test_without_a_port_only_the_socket_is_served(tmp_path: Path):
    async with server(counted()).opened(tmp_path / "one.sock", ScrapeSettings()):
        assert "penstock_requests_total 3.0" in await scrape(tmp_path / "one.sock")
