"""Stands in for services.worker: reports one model with the versions of its folder and dies of the version named `poison`.

Versions that an override marks as failed are reported so and not touched. Every step is a line of `<state>/../steps`.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from penstock.contracts.names import ModelVersion
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from penstock.v1.worker_pb2 import ModelOverride
from services.chassis.blackbox import Blackbox, Phase
from services.chassis.feeds import FolderPublisher
from services.chassis.parentage import die_with_parent

die_with_parent()
settings = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
name, state = settings["worker_id"], Path(settings["state_dir"])
box = Blackbox.open(state / "blackbox" / name)


def step(word):
    with (state.parent / "steps").open("a") as file:
        file.write(f"{name} {word} {os.getpid()}\n")


def replica(version, failed):
    spec = TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 2))
    return ReplicaStatus(
        replica_id=1,
        model="digits",
        version=version,
        state=ReplicaState.FAILED if failed else ReplicaState.READY,
        reason=failed or "",
        signature=Signature(inputs=(spec,), outputs=(spec,), max_batch_size=8),
    )


def load():
    override = state / "overrides" / "digits.pb"
    failed = dict(ModelOverride.FromString(override.read_bytes()).failed_versions) if override.exists() else {}
    replicas = []
    for folder in sorted((Path(settings["repository"]) / "digits").iterdir()):
        reason = failed.get(folder.name)
        if folder.name == "poison" and not reason:
            box.slot(0).enter(Phase.LOADING, box.register(ModelVersion(model="digits", version=folder.name)))
            step("crashes")
            os.abort()
        replicas.append(replica(folder.name, reason))
    return tuple(replicas)


asked = threading.Event()
signal.signal(signal.SIGHUP, lambda *_: step("reload"))
signal.signal(signal.SIGTERM, lambda *_: asked.set())
step("starts")
status = WorkerStatus(
    worker_id=name, instance_id=str(os.getpid()), link_address="unix:/none", process_id=os.getpid(), replicas=load(), settled=True
)
FolderPublisher(state / "workers", WorkerStatus.to_bytes).publish(name, status)
step("settled")
while not asked.wait(0.05):
    pass
step("stopped")
