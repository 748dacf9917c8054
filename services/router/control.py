"""Everything but inference: identify the caller, then answer; gRPC and HTTP both call this.

Reading asks for a valid key and shows what its tenant may call; changing asks for an administrator. Whether the server lives and is
ready is told to anybody: probes have no keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.contracts.errors import Conflict
from penstock.oip.v2 import inference_pb2 as pb
from services.router.controller_link import ControllerLink
from services.router.directory import Directory
from services.router.load_order import Parameter, check_unload, load_order
from services.router.repository import Repository
from services.router.runtime_settings import LogSettings, LogValue, TraceSettings
from services.router.statistics import Statistics
from services.router.tenants import Tenants


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Answers and changes for callers, who are named by the key they presented; every method raises what it is refused for.

    Raises:
        Unauthenticated: no valid key where one is needed.
        TenantForbidden: the change needs an administrator.
    """

    tenants: Tenants
    directory: Directory
    statistics: Statistics
    repository: Repository | None
    """None where a controller decides what is held."""
    log_settings: LogSettings
    trace_settings: TraceSettings
    controllers: ControllerLink = field(default_factory=lambda: ControllerLink(()))
    """The way to who changes the mesh; answers by itself that there is none where there is none."""

    def server_ready(self) -> bool:
        """Whether calls can be answered."""
        return self.directory.server_ready()

    def server_metadata(self, key: str | None) -> pb.ServerMetadataResponse:
        """Return name, version and extensions."""
        self.tenants.of(key)
        return self.directory.server_metadata()

    def model_ready(self, key: str | None, model: str, version: str) -> bool:
        """Whether a model takes requests."""
        return self.directory.model_ready(model, version, may_see=self.tenants.of(key).may_call)

    def model_metadata(self, key: str | None, model: str, version: str) -> pb.ModelMetadataResponse:
        """Return versions, platform, inputs and outputs."""
        return self.directory.model_metadata(model, version, may_see=self.tenants.of(key).may_call)

    def model_config(self, key: str | None, model: str, version: str) -> pb.ModelConfigResponse:
        """Return the complete configuration."""
        return self.directory.model_config(model, version, may_see=self.tenants.of(key).may_call)

    async def model_statistics(self, key: str | None, model: str, version: str) -> pb.ModelStatisticsResponse:
        """Return the statistics of a version, of a model, or of all models."""
        return await self.statistics.collect(model, version, may_see=self.tenants.of(key).may_call)

    def index(self, key: str | None, *, ready_only: bool, repository_name: str) -> pb.RepositoryIndexResponse:
        """Return every version with its state."""
        may_see = self.tenants.of(key).may_call
        return self.directory.index(ready_only=ready_only, repository_name=repository_name, may_see=may_see)

    async def load(self, key: str | None, model: str, parameters: Mapping[str, Parameter], deadline: float) -> None:
        """Load a model, or load it again, and return when it serves; `deadline` is monotonic seconds."""
        self.tenants.admin(key)
        order = load_order(model, parameters)
        await self._repository("loaded").load(order, deadline)

    async def unload(self, key: str | None, model: str, parameters: Mapping[str, Parameter], deadline: float) -> None:
        """Unload a model and return when it is gone; `deadline` is monotonic seconds."""
        self.tenants.admin(key)
        check_unload(model, parameters)
        await self._repository("unloaded").unload(model, deadline)

    def _repository(self, done: str) -> Repository:
        if self.repository is None:
            raise Conflict(
                f"models are {done} by the controller here, which would undo what is asked of a router: "
                "use `penstock deploy`, and `penstock deployments delete` to unload",
                reason="DEPLOYED_BY_CONTROLLER",
            )
        return self.repository

    def logs(self, key: str | None, wanted: Mapping[str, LogValue]) -> Mapping[str, LogValue]:
        """Return the log settings in force, after changing those that are wanted."""
        if not wanted:
            self.tenants.of(key)
            return self.log_settings.read()
        self.tenants.admin(key)
        return self.log_settings.change(wanted)

    def traces(self, key: str | None, wanted: Mapping[str, Sequence[str]], *, model: str = "") -> Mapping[str, tuple[str, ...]]:
        """Return the trace settings in force, after changing those that are wanted; a model's are the server's."""
        tenant = self.tenants.of(key)
        if model:
            self.directory.deployment(model, may_see=tenant.may_call)
        if not wanted:
            return self.trace_settings.read()
        self.tenants.admin(key)
        return self.trace_settings.change(wanted, model=model)
