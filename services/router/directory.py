"""What the router knows of models, in the messages of the Open Inference Protocol; gRPC and HTTP answer from here.

Everything derives from the route table, that is from what workers report. Who asks decides what there is: `may_see` hides the models
of others, and a hidden model is refused in the same words as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version as distribution_version

from penstock.contracts.errors import ModelNotFound, NotFound, NotImplementedHere, Unavailable
from penstock.contracts.names import version_order
from penstock.contracts.signature import TensorSpec
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.model_config_pb2 import ModelConfig
from services.mesh.route_table import Deployment, RouteTable
from services.router.graph_readiness import graph_problems

SERVER_NAME = "penstock"
PLATFORM = "onnxruntime_onnx"

EXTENSIONS = (
    "binary_tensor_data",
    "parameters",
    "statistics",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "schedule_policy",
    "trace",
    "logging",
    "classification",
)
"""Extensions of the protocol that really work here."""

INDEX_STATES = {
    ReplicaState.READY: "READY",
    ReplicaState.LOADING: "LOADING",
    ReplicaState.WARMING: "LOADING",
    ReplicaState.DRAINING: "UNLOADING",
    ReplicaState.UNLOADED: "UNAVAILABLE",
    ReplicaState.FAILED: "UNAVAILABLE",
}
"""Name of a replica's state in the repository index; the first of them that any worker reports is the version's."""

_STATE_ORDER = ("READY", "LOADING", "UNLOADING", "UNAVAILABLE")

MaySee = Callable[[str], bool]


def everything(_model: str) -> bool:
    """See every model."""
    return True


class Directory:
    """Answers what is served here."""

    def __init__(self, table: RouteTable, *, server_version: str | None = None, extensions: Sequence[str] = EXTENSIONS) -> None:
        """Keep the table; `server_version` is by default the installed distribution's."""
        self._table = table
        self._server_version = server_version or distribution_version(SERVER_NAME)
        self._extensions = tuple(extensions)
        self._is_draining = False

    @property
    def is_draining(self) -> bool:
        """Whether the router is about to stop."""
        return self._is_draining

    def begin_drain(self) -> None:
        """Report from now on that nothing is ready, so that callers go elsewhere before calls are refused."""
        self._is_draining = True

    def server_metadata(self) -> pb.ServerMetadataResponse:
        """Return name, version and extensions of the server."""
        return pb.ServerMetadataResponse(name=SERVER_NAME, version=self._server_version, extensions=self._extensions)

    def server_ready(self) -> bool:
        """Whether calls can be answered: a worker has loaded what it can, and the router is not draining."""
        return not self._is_draining and any(status.settled and not status.draining for status in self._table.statuses().values())

    def model_ready(self, model: str, version: str = "", *, may_see: MaySee = everything) -> bool:
        """Whether a version, or the one that serves when none is named, takes requests; False for what does not exist.

        Raises:
            InvalidInput: the name could not be a model's.
        """
        if self._is_draining:
            return False
        try:
            found = self.deployment(model, version, may_see=may_see)
        except (NotFound, Unavailable):
            return False
        return found.graph is None or not graph_problems(found.graph, self._table.resolve)

    def knows(self, model: str, *, may_see: MaySee = everything) -> bool:
        """Whether any worker holds, or tried to hold, a model."""
        return may_see(model) and model in self._table.models()

    def models(self, *, may_see: MaySee = everything) -> list[str]:
        """Return the names of all models, sorted."""
        return [model for model in self._table.models() if may_see(model)]

    def deployment(self, model: str, version: str = "", *, may_see: MaySee = everything) -> Deployment:
        """Return what serves a name.

        Raises:
            InvalidInput: the name could not be a model's.
            ModelNotFound, VersionNotFound: nothing of this name.
            NoReadyReplica: it exists and is not ready.
        """
        if not may_see(model):
            raise ModelNotFound(f"model {model[:64]!r} is not known here (penstock models list)", field="model_name")
        return self._table.resolve(model, version)

    def model_metadata(self, model: str, version: str = "", *, may_see: MaySee = everything) -> pb.ModelMetadataResponse:
        """Return versions, platform, inputs and outputs; raises what `deployment` raises."""
        found = self.deployment(model, version, may_see=may_see)
        return pb.ModelMetadataResponse(
            name=found.model,
            versions=[found.version] if version else self._table.versions(model),
            platform=ModelConfig.FromString(found.model_config).platform or PLATFORM,
            inputs=_tensors(found.signature.inputs),
            outputs=_tensors(found.signature.outputs),
        )

    def model_config(self, model: str, version: str = "", *, may_see: MaySee = everything) -> pb.ModelConfigResponse:
        """Return the complete configuration; raises what `deployment` raises."""
        found = self.deployment(model, version, may_see=may_see)
        return pb.ModelConfigResponse(config=ModelConfig.FromString(found.model_config))

    def index(self, *, ready_only: bool = False, repository_name: str = "", may_see: MaySee = everything) -> pb.RepositoryIndexResponse:
        """Return every version that any worker holds, tried to hold or held.

        Raises:
            NotImplementedHere: a repository is named; there is only one.
        """
        if repository_name:
            raise NotImplementedHere("there is one repository: leave 'repository_name' empty", field="repository_name")
        held: dict[tuple[str, str], list[tuple[str, ReplicaStatus]]] = {}
        for worker_id, status in sorted(self._table.statuses().items()):
            for replica in status.replicas:
                if may_see(replica.model):
                    held.setdefault((replica.model, replica.version), []).append((worker_id, replica))
        entries = [self._as_graph(_entry(held[name])) for name in sorted(held, key=lambda name: (name[0], version_order(name[1])))]
        return pb.RepositoryIndexResponse(models=[entry for entry in entries if entry.state == "READY" or not ready_only])

    def _as_graph(self, entry: pb.RepositoryIndexResponse.ModelIndex) -> pb.RepositoryIndexResponse.ModelIndex:
        """Say of a graph that is there why it cannot be answered, where it cannot."""
        found = self._table.deployment(entry.name, entry.version)
        problems = graph_problems(found.graph, self._table.resolve) if found is not None and found.graph is not None else ()
        if problems and entry.state == "READY":
            entry.state, entry.reason = "UNAVAILABLE", "; ".join(problems)
        return entry


def _entry(replicas: Sequence[tuple[str, ReplicaStatus]]) -> pb.RepositoryIndexResponse.ModelIndex:
    """Sum up one version over the workers: the best state, and what is wrong anywhere."""
    reported = {INDEX_STATES[replica.state] for _, replica in replicas}
    state = next(name for name in _STATE_ORDER if name in reported)
    reasons = dict.fromkeys(replica.reason or "unloaded" for _, replica in replicas if INDEX_STATES[replica.state] == "UNAVAILABLE")
    if state != "UNAVAILABLE":
        reasons = dict.fromkeys(f"{worker_id}: {replica.reason}" for worker_id, replica in replicas if replica.state is ReplicaState.FAILED)
    _, any_replica = replicas[0]
    return pb.RepositoryIndexResponse.ModelIndex(
        name=any_replica.model, version=any_replica.version, state=state, reason="; ".join(reasons)
    )


def _tensors(specs: Iterable[TensorSpec]) -> list[pb.ModelMetadataResponse.TensorMetadata]:
    return [pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype.value, shape=spec.shape) for spec in specs]
