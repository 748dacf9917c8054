"""Whoever watches the serve fails: the collector of spans, the reader of the log, and callers who would fill the metrics with names."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import grpc.aio
import pytest

from tests.faults import invariants as inv
from tests.faults import oracle
from tests.faults.caller import INFER, OPTIONS, Caller, request_of
from tests.faults.collector import Collector
from tests.faults.figures import record
from tests.faults.ledger import Kind, Ledger
from tests.faults.load import Plan, asking, more_answers
from tests.faults.proxy import Proxy, Toxic
from tests.faults.truths import held_true
from tests.faults.world import World, environment, held_by, world

pytestmark = pytest.mark.timeout(240)

PLAN = Plan(rate=50.0, models=("alpha",), deadline_seconds=20.0)
QUEUE_SPANS = 200
GROWTH_BYTES = 64 << 20
PIPE_BYTES = 4096


async def until(running: World, condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(lambda: running.served.until(condition, seconds=60.0))


async def grows(running: World, metric: str) -> float:
    """Return by how much a counter of the serve has grown when it has."""
    before = running.metric(metric)
    await until(running, lambda: running.metric(metric) > before)
    return running.metric(metric) - before


def all_answered(ledger: Ledger) -> None:
    entries = ledger.entries()
    assert entries
    assert [entry.outcomes for entry in entries if not entry.is_ok] == []
    assert inv.one_terminal_answer(entries) == []
    assert inv.right_answer(entries, oracle.expected) == []


async def test_e1_a_collector_that_is_away_hangs_or_crawls_costs_spans_that_are_counted_and_no_request(
    tmp_path: Path, short_dir: Path, ledger: Ledger, free_port: int
):
    models = oracle.write_models(tmp_path / "models", ("alpha",))
    with Proxy("collector", lambda: ("127.0.0.1", free_port)) as way, Collector(free_port, tmp_path) as collector:
        tracing = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{way.port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_BSP_MAX_QUEUE_SIZE": str(QUEUE_SPANS),
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with environment(**tracing), world(short_dir, models, workers=1) as running:
            running.settle({"alpha": "1"})
            collector.start()
            dropped: dict[str, float] = {}
            async with asking(running.target, ledger, PLAN):
                await grows(running, "penstock_spans_exported_total")
                before = held_by(running.served.child("router-0")).resident_bytes

                collector.kill()
                dropped["away"] = await grows(running, "penstock_spans_dropped_total")
                collector.start()
                await grows(running, "penstock_spans_exported_total")
                assert collector.spans

                collector.send(signal.SIGSTOP)
                dropped["hung"] = await grows(running, "penstock_spans_dropped_total")
                collector.send(signal.SIGCONT)
                await grows(running, "penstock_spans_exported_total")

                way.poison(Toxic(bytes_per_second=2000))
                dropped["slow"] = await grows(running, "penstock_spans_dropped_total")
                way.heal()
                await grows(running, "penstock_spans_exported_total")
            growth = held_by(running.served.child("router-0")).resident_bytes - before

            held_true(running, ledger)
            all_answered(ledger)
            assert growth < GROWTH_BYTES
            record("E1", calls=len(ledger.entries()), refused=0, **{f"dropped_{name}": count for name, count in dropped.items()})


class StalledReader:
    """Reads what a serve logs, or leaves it lying; the serve writes to a pipe that is nearly full at once."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "serve.log"
        self._kept = folder / "read.log"
        self._kept.touch()
        os.mkfifo(self.log)
        self._descriptor = os.open(self.log, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._reads = threading.Event()
        self._reads.set()
        self._is_over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Show what was read under the log's name; whoever writes has the pipe open."""
        self.log.unlink()
        self.log.symlink_to(self._kept)

    def stall(self) -> None:
        self._reads.clear()

    def go_on(self) -> None:
        self._reads.set()

    def close(self) -> None:
        self._is_over = True
        self.go_on()
        self._thread.join()
        os.close(self._descriptor)

    def _read(self) -> None:
        rest = b""
        with self._kept.open("ab", buffering=0) as kept:
            while not self._is_over:
                self._reads.wait()
                with suppress(BlockingIOError):
                    whole, newline, rest = (rest + os.read(self._descriptor, PIPE_BYTES)).rpartition(b"\n")
                    kept.write(whole + newline)
                time.sleep(0.005)


@contextmanager
def unread_world(folder: Path, models: Path, *options: str) -> Iterator[tuple[World, StalledReader]]:
    reader = StalledReader(folder)
    try:
        with world(folder, models, *options, workers=1, plants=("short-log-queue",)) as running:
            reader.settle()
            try:
                yield running, reader
            finally:
                reader.go_on()
    finally:
        reader.close()


async def test_e2_a_log_that_nobody_reads_costs_lines_that_are_counted_and_no_request(tmp_path: Path, short_dir: Path, ledger: Ledger):
    models = oracle.write_models(tmp_path / "models", ("alpha",))
    file = tmp_path / "serve.toml"
    file.write_text('log_level = "info"\n')
    with unread_world(short_dir, models, "--config", str(file)) as (running, reader):
        running.settle({"alpha": "1"})
        async with asking(running.target, ledger, PLAN):
            reader.stall()
            levels = ["debug", "info"]
            async with asyncio.timeout(90):
                # Every change of the level is a line of every process.
                while not await asyncio.to_thread(running.metric, "penstock_log_lines_dropped_total"):
                    file.write_text(f'log_level = "{levels[0]}"\n')
                    levels.reverse()
                    running.served.process.send_signal(signal.SIGHUP)
                    await asyncio.sleep(0.02)
            await more_answers(ledger, 20)
            dropped = running.metric("penstock_log_lines_dropped_total")
            reader.go_on()
            await until(running, lambda: bool(running.served.events("log_lines_dropped")))

        all_answered(ledger)
        assert sum(line["count"] for line in running.served.events("log_lines_dropped")) > 0
        record("E2", calls=len(ledger.entries()), refused=0, lines_dropped=dropped)


@pytest.mark.parametrize("names", [1500, pytest.param(10_000, marks=pytest.mark.long)])
async def test_e3_names_that_callers_make_up_become_no_series(running: World, ledger: Ledger, names: int):
    before = await asyncio.to_thread(running.metrics)
    async with Caller(running.target, ledger) as caller, grpc.aio.insecure_channel(running.served.grpc, OPTIONS) as channel:
        infer = channel.unary_unary(INFER)
        room = asyncio.Semaphore(16)

        async def attack(model: str, version: str, tenant: str) -> str:
            named = b"\x12" + bytes([len(version)]) + version.encode() if version else b""
            body = named + request_of(model, oracle.rows_of(1, 1), 20.0)
            async with room:
                try:
                    await infer(body, timeout=60, metadata=(("x-api-key", tenant), ("x-user-id", tenant)))
                except grpc.aio.AioRpcError as error:
                    return error.code().name
                return "OK"

        ways = (("{}", "", ""), ("alpha", "{}", ""), ("alpha", "", "{}"))
        made = [attack(*(part.format(f"attack{number}") for part in ways[number % 3])) for number in range(names)]
        attacking = asyncio.gather(*made)
        for nonce in range(20):
            await caller.ask("alpha", nonce, deadline_seconds=20.0)
        told = await attacking
        for number in range(50):
            with pytest.raises(urllib.error.HTTPError):
                await asyncio.to_thread(urllib.request.urlopen, f"{running.served.http}/v2/models/attack{number}/ready", timeout=30)
        after = await asyncio.to_thread(running.metrics)

    held_true(running, ledger)
    assert {entry.outcomes[0].kind for entry in ledger.entries()} == {Kind.OK}
    assert {code: told.count(code) for code in set(told)} == {"NOT_FOUND": names - names // 3, "OK": names // 3}
    assert [name for name in after if "attack" in name] == []
    # What the first refusal and the first answer of a kind add, and no more.
    assert len(after) < len(before) + 200
    record("E3", names=names, series_added=len(after) - len(before))
