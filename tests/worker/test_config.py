"""What a worker holds is said in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.model_config_values import MAX_THREADS
from services.chassis.config import InvalidConfig, load
from services.worker.config import WorkerSettings

ASSIGNED = {"state_dir": "/s", "bus": {"bootstrap_servers": "127.0.0.1:9092"}, "artefacts": {"store": "file:///store"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"state_dir": "/s"}, "exactly one of repository"),
        ({"repository": "/r", **ASSIGNED}, "exactly one of repository"),
        ({**ASSIGNED, "artefacts": {}}, "needs artefacts.store"),
        ({"state_dir": "/s", "repository": "/r", "intra_op_threads": MAX_THREADS + 1}, "less than or equal to 512"),
        ({**ASSIGNED, "link_advertised_host": "worker.example"}, "set link_host"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, object], message: str):
    with pytest.raises(InvalidConfig, match=message):
        load(WorkerSettings, overrides=settings, environment={})


def test_a_folder_or_an_assignment_is_enough():
    assert load(WorkerSettings, overrides={"state_dir": "/s", "repository": "/r"}, environment={}).repository == Path("/r")
    assigned = load(WorkerSettings, overrides=ASSIGNED, environment={})

    assert assigned.bus.is_set
    assert assigned.artefact_folder == Path("/s/artefacts/worker-0")


def test_the_store_can_be_named_in_the_environment():
    settings = load(
        WorkerSettings,
        overrides={"state_dir": "/s"},
        environment={
            "PENSTOCK_WORKER__BUS__BOOTSTRAP_SERVERS": "127.0.0.1:9092",
            "PENSTOCK_WORKER__ARTEFACTS__STORE": "s3://models",
            "PENSTOCK_WORKER__ARTEFACTS__CACHE": "/cache",
        },
    )

    assert (settings.artefacts.store, settings.artefact_folder) == ("s3://models", Path("/cache"))
