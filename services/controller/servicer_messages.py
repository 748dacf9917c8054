"""Values of the catalogue as messages of the controller's service. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from penstock.contracts.errors import InvalidInput
from penstock.contracts.route_records import route_to_bytes
from penstock.contracts.routes import Route
from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2, worker_pb2
from services.controller.callers import Asked
from services.controller.changes import Outcome
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.documents import canonical
from services.controller.ledger_values import AuditRecord
from services.controller.model_values import Model, Version
from services.controller.placement_values import Placement
from services.controller.routers import RouterConfirmation
from services.controller.tenant_values import ApiKey, Tenant

STATUSES = {status: f"DEPLOYMENT_STATUS_{status.name}" for status in DeploymentStatus}


def asked(options: pb.WriteOptions) -> Asked:
    """Return what a write says about itself."""
    return Asked(
        reason=options.reason,
        dry_run=options.dry_run,
        expected_revision=options.expected_revision,
        idempotency_key=options.idempotency_key,
    )


def asked_anew(options: pb.WriteOptions, what: str) -> Asked:
    """Return what a write says about itself whose subject has no revision that the caller could have seen.

    Raises:
        InvalidInput: it names one all the same.
    """
    if options.expected_revision:
        raise InvalidInput(f"{what} has no revision to be compared with: leave it out", reason="BAD_VALUE", field="expected_revision")
    return asked(options)


def route_message(route: Route | None) -> routes_pb2.Route:
    """Return a route; an empty one where there is none."""
    return routes_pb2.Route.FromString(route_to_bytes(route)) if route is not None else routes_pb2.Route()


def change_message(outcome: Outcome[Any]) -> pb.Change:
    """Return what a write has changed; where there was nothing to do, only whether it was a dry run."""
    if outcome.change is None:
        return pb.Change(dry_run=outcome.is_dry_run)
    message = record_message(outcome.change)
    message.dry_run = outcome.is_dry_run
    return message


def record_message(record: AuditRecord) -> pb.Change:
    """Return an audit record."""
    return pb.Change(
        change_id=record.change_id,
        kind=record.action if record.outcome == "done" else f"{record.action} ({record.outcome})",
        subject=record.subject,
        actor=record.actor,
        time=record.time,
        reason=record.why,
        before_json=record.before,
        after_json=record.after,
        revision=record.revision,
        sequence=record.sequence,
        hash=record.hash,
        number=record.number,
    )


def version_message(version: Version) -> pb.ModelVersion:
    """Return a version."""
    return pb.ModelVersion(
        model=version.model,
        version=version.version,
        digest=version.digest,
        size_bytes=_size(version.manifest),
        inputs=_tensors(version.signature, "inputs"),
        outputs=_tensors(version.signature, "outputs"),
        metadata=_texts(version.metadata) | _said(version.lineage) | _standing(version),
        feature_hash=version.feature_schema_hash,
        created_time=version.created_time,
        created_by=version.created_by,
        signature=version.version_signature or b"",
        signed_by=version.signed_by,
    )


def _said(lineage: Mapping[str, object]) -> dict[str, str]:
    """Return what its owner says of a version; who signed it is not the owner's to say."""
    return {name: text for name, text in _texts(lineage).items() if name != "signed_by"}


def _standing(version: Version) -> dict[str, str]:
    """Return what has become of a version since it was registered."""
    told = {"signed_by": version.signed_by} if version.signed_by else {}
    if version.reason:
        told["state"] = version.state.value
    if version.checked_time is not None:
        told["checked_time"] = datetime.fromtimestamp(version.checked_time, UTC).isoformat(timespec="seconds")
    return told | ({"damage": version.damage} if version.damage else {})


def model_message(model: Model, aliases: Mapping[str, str], versions: Iterable[Version]) -> pb.Model:
    """Return a model with its aliases and versions."""
    return pb.Model(
        name=model.name,
        description=model.description,
        framework=model.framework,
        owner=model.owner,
        created_time=model.created_time,
        changed_time=model.changed_time,
        aliases=dict(aliases),
        versions=[version_message(version) for version in versions],
        revision=model.revision,
    )


def deployment_message(deployment: Deployment, *, ready: int, route: Route | None) -> pb.Deployment:
    """Return a deployment, with the replicas that are ready and its share of the route in force."""
    return pb.Deployment(
        deployment_id=deployment.id,
        model=deployment.model,
        version=deployment.version,
        status=STATUSES[deployment.status],
        status_reason=deployment.reason,
        replicas=deployment.replicas,
        ready_replicas=ready,
        gpu_type=deployment.gpu_type,
        traffic_basis_points=route.weight(deployment.version) if route is not None and not deployment.is_over else 0,
        config_json=canonical(deployment.config) if deployment.config else "",
        created_time=deployment.created_time,
        changed_time=deployment.changed_time,
        revision=deployment.revision,
        memory_bytes=deployment.resources.memory_bytes,
    )


def confirmation_messages(confirmations: Iterable[RouterConfirmation]) -> list[pb.Confirmation]:
    """Return what the routers said."""
    return [pb.Confirmation(router_id=one.router_id, seconds=-1.0 if one.seconds is None else one.seconds) for one in confirmations]


def placement_message(placement: Placement) -> pb.Placement:
    """Return where a replica stands, and why."""
    return pb.Placement(
        deployment_id=placement.deployment_id,
        model=placement.model,
        version=placement.version,
        worker_id=placement.worker_id,
        action=placement.action.value,
        reason=placement.reason,
        memory_bytes=placement.memory_bytes,
    )


def tenant_message(tenant: Tenant, keys: Iterable[ApiKey]) -> pb.TenantRecord:
    """Return a tenant with its keys, without anything secret."""
    return pb.TenantRecord(
        tenant=tenant.name,
        settings_json=json.dumps(tenant.settings, sort_keys=True),
        keys=[key_message(key) for key in keys],
        frozen=tenant.frozen,
        revision=tenant.revision,
    )


def key_message(key: ApiKey) -> pb.KeyRecord:
    """Return a key, without its hash."""
    return pb.KeyRecord(
        key_id=key.key_id,
        created_time=key.created_time,
        expires_time=key.expires_time or 0.0,
        revoked=key.revoked_time is not None,
        last_used_time=key.last_used_time or 0.0,
    )


def _size(manifest: Mapping[str, object]) -> int:
    files = cast("list[Mapping[str, Any]]", manifest.get("files") or [])
    return sum(int(file.get("size", 0)) for file in files)


def _tensors(signature: Mapping[str, object], side: str) -> list[worker_pb2.TensorSpec]:
    specs = cast("list[Mapping[str, Any]]", signature.get(side) or [])
    return [worker_pb2.TensorSpec(name=one["name"], datatype=one["datatype"], shape=one["shape"]) for one in specs]


def _texts(facts: Mapping[str, object]) -> dict[str, str]:
    return {name: fact if isinstance(fact, str) else json.dumps(fact, sort_keys=True) for name, fact in facts.items()}
