"""The worker as a whole: traffic during swaps, metrics, and its end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

from penstock.contracts.names import ModelVersion
from services.chassis.blackbox import Blackbox, Phase, read_blackbox
from services.chassis.process import CannotStart
from services.mesh.frames import hello
from services.worker.onnx_session import OnnxSession
from services.worker.suspects import Suspects
from tests.worker import models
from tests.worker.folders import publish
from tests.worker.link_client import connected
from tests.worker.live_worker import live_worker, short_folder

ROW = np.ones((1, 3))


@pytest.fixture
def root() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@pytest.fixture
def repository(root: Path) -> Path:
    publish(root / "repository", "m", "1", models.row_sum())
    return root / "repository"


async def scrape(state_dir: Path) -> str:
    reader, writer = await asyncio.open_unix_connection(str(state_dir / "metrics" / "w0.sock"))
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


async def test_requests_that_arrive_while_a_version_drains_are_answered_and_later_ones_are_told_that_it_is_gone(
    repository: Path, root: Path
):
    async with live_worker(repository, root / "state", notice_seconds=0.3) as worker:
        status = await worker.settled()
        old = status.replicas[0].replica_id
        async with connected(status) as link:
            publish(repository, "m", "2", models.row_sum())
            await worker.until_states("m", v1="DRAINING", v2="READY")
            during = await link.ask(old, ROW)
            await worker.until_states("m", v1="UNLOADED", v2="READY")
            after = await link.answer(link.send(old, ROW))

    assert during == [3.0]
    assert after.failures[0].reason == "REPLICA_GONE"


async def test_a_worker_that_ends_tells_routers_and_answers_what_they_sent(repository: Path, root: Path):
    async with AsyncExitStack() as stack:
        async with live_worker(repository, root / "state", notice_seconds=0.2) as worker:
            status = await worker.settled()
            link = await stack.enter_async_context(connected(status))
            numbers = [link.send(status.replicas[0].replica_id, ROW * number) for number in range(50)]

        answers = await link.answers_of(numbers)
        await link.read_to_end()

    assert [np.frombuffer(one.outputs[0].raw, np.float32)[0] for one in answers] == [3.0 * number for number in range(50)]
    assert link.is_drain_announced


async def test_a_worker_that_no_router_is_linked_to_ends_without_giving_notice(repository: Path, root: Path):
    async with asyncio.timeout(60), live_worker(repository, root / "state", notice_seconds=3600) as worker:
        status = await worker.settled()
        async with connected(status) as link:
            await link.ask(status.replicas[0].replica_id, ROW)
            link.writer.write_eof()
            await link.read_to_end()  # the worker has seen it go

    assert worker.status is None


async def test_metrics_show_executions_states_and_memory(repository: Path, root: Path):
    publish(repository, "broken", "1", b"x")
    async with live_worker(repository, root / "state", memory_budget_bytes=1 << 30) as worker:
        status = await worker.settled()
        replica = next(one for one in status.replicas if one.is_ready)
        async with connected(status) as link:
            await link.ask(replica.replica_id, np.ones((4, 3)))
        text = await scrape(root / "state")

    for line in (
        'nv_inference_count{model="m",version="1"} 4.0',
        'nv_inference_exec_count{model="m",version="1"} 1.0',
        'nv_inference_pending_request_count{model="m",version="1"} 0.0',
        'penstock_batch_size_bucket{le="4.0",model="m",version="1"} 1.0',
        'penstock_batch_size_bucket{le="2.0",model="m",version="1"} 0.0',
        'penstock_batch_wait_seconds_count{model="m",version="1"} 1.0',
        'penstock_model_load_seconds_count{model="m"} 1.0',
        'penstock_model_load_failures_total{model="broken",reason="ARTIFACT_CORRUPT"} 1.0',
        'penstock_replica_state{model="m",state="ready",version="1"} 1.0',
        'penstock_replica_state{model="broken",state="failed",version="1"} 1.0',
        f'penstock_model_memory_bytes{{model="m",version="1"}} {float(replica.memory_bytes)}',
        "penstock_memory_budget_bytes 1.073741824e+09",
    ):
        assert line in text
    assert "nv_inference_compute_infer_duration_us" in text
    assert "process_resident_memory_bytes" in text


async def test_counters_of_a_version_whose_files_were_replaced_do_not_fall(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        status = await worker.settled()
        async with connected(status) as link:
            await link.ask(status.replicas[0].replica_id, ROW)
        publish(repository, "m", "1.new", models.row_sum()).rename(root / "aside")
        (root / "aside" / "model.onnx").rename(repository / "m" / "1" / "model.onnx")
        (repository / "m" / "1" / "extra").write_text("changes the digest")
        status = await worker.until(lambda status: len(status.replicas) == 1 and status.replicas[0].replica_id != 1)
        async with connected(status) as link:
            await link.ask(status.replicas[0].replica_id, ROW)
        text = await scrape(root / "state")

    assert 'nv_inference_exec_count{model="m",version="1"} 2.0' in text


async def test_an_unloaded_version_leaves_no_session_behind(repository: Path, root: Path):
    def sessions() -> int:
        gc.unfreeze()  # what the worker has frozen is hidden from `get_objects`
        gc.collect()
        found = sum(isinstance(one, OnnxSession) and one._name == "m@1" for one in gc.get_objects())
        gc.freeze()  # what the session of tests had frozen as well: no later collection is to walk it
        return found

    async with live_worker(repository, root / "state") as worker:
        await worker.settled()
        assert sessions() == 1
        publish(repository, "m", "2", models.row_sum())
        await worker.until_states("m", v1="UNLOADED", v2="READY")

        assert sessions() == 0


async def test_a_worker_for_other_machines_listens_on_a_port_that_its_status_names(repository: Path, root: Path):
    async with live_worker(repository, root / "state", link_host="127.0.0.1") as worker:
        status = await worker.settled()
        kind, host, port = status.link_address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(hello(status.instance_id, "router-test", 0.0))
        first = await reader.read(4096)
        writer.close()

    assert kind == "tcp"
    assert status.instance_id.encode() in first


async def test_a_missing_repository_is_refused_at_the_start(root: Path):
    with pytest.raises(CannotStart, match="is no folder: create it"):
        async with live_worker(root / "nowhere", root / "state"):
            pass


def test_the_black_box_names_what_loads_and_what_runs(tmp_path: Path):
    box = Blackbox.open(tmp_path / "box")
    suspects, one, two = Suspects(box), ModelVersion(model="m", version="1"), ModelVersion(model="m", version="2")
    (hook,) = suspects.hooks(one, 1)

    with suspects.loading(two) as slot:
        hook.on_enter()
        both = read_blackbox(tmp_path / "box").suspects
        suspects.warming(slot, two)
        warming = read_blackbox(tmp_path / "box").suspects
    hook.on_leave()
    after = read_blackbox(tmp_path / "box").suspects
    suspects.blame(one, "it would not stop")

    assert {(suspect.version, suspect.phase) for suspect in both} == {(one, Phase.RUNNING), (two, Phase.LOADING)}
    assert (two, Phase.WARMING) in {(suspect.version, suspect.phase) for suspect in warming}
    assert after == ()
    assert read_blackbox(tmp_path / "box").verdict == one


def test_a_full_black_box_lets_further_versions_run_unrecorded(tmp_path: Path):
    suspects = Suspects(Blackbox.open(tmp_path / "box", slots=2, names=2), slots=2)
    versions = [ModelVersion(model="m", version=str(number)) for number in range(4)]

    hooks = [suspects.hooks(version, 1) for version in versions]
    for (hook,) in hooks:
        hook.on_enter()

    assert [suspect.version for suspect in read_blackbox(tmp_path / "box").suspects] == versions[:1]
    suspects.release(versions[0], hooks[0])
    (hook,) = suspects.hooks(versions[3], 1)
    hook.on_enter()
    assert [suspect.version for suspect in read_blackbox(tmp_path / "box").suspects] == versions[3:]
