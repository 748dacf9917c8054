"""Answers of the controller's service as JSON documents. Pure."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2

Document = dict[str, Any]


def moment(seconds: float) -> str | None:
    """Return a time stamp in UTC (RFC 3339), None for no time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if seconds else None


def deployment(one: pb.Deployment) -> Document:
    """Return a deployment."""
    return {
        "id": one.deployment_id,
        "model_name": one.model,
        "version": one.version,
        "status": pb.DeploymentStatus.Name(one.status).removeprefix("DEPLOYMENT_STATUS_").lower(),
        "status_reason": one.status_reason or None,
        "replicas": one.replicas,
        "ready_replicas": one.ready_replicas,
        "gpu_type": one.gpu_type or None,
        "memory_bytes": one.memory_bytes or None,
        "traffic_percent": one.traffic_basis_points / 100,
        "config": json.loads(one.config_json) if one.config_json else {},
        "created_at": moment(one.created_time),
        "updated_at": moment(one.changed_time),
        "revision": one.revision,
    }


def version(one: pb.ModelVersion) -> Document:
    """Return a version of a model."""
    return {
        "model_name": one.model,
        "version": one.version,
        "digest": one.digest,
        "size_bytes": one.size_bytes,
        "inputs": [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in one.inputs],
        "outputs": [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in one.outputs],
        "metadata": dict(one.metadata),
        "feature_hash": one.feature_hash or None,
        "created_at": moment(one.created_time),
        "created_by": one.created_by,
        "signature": base64.b64encode(one.signature).decode() or None,
        "signed_by": one.signed_by or None,
    }


def verification(answer: pb.VerifyVersionResponse) -> Document:
    """Return what was found of a version."""
    return {
        "version": version(answer.version),
        "files": [
            {"path": one.path, "size_bytes": one.size_bytes, "sha256": one.sha256, "damage": one.damage or None} for one in answer.files
        ],
        "damage": answer.damage or None,
        "signature": pb.SignatureState.Name(answer.signature_state).removeprefix("SIGNATURE_STATE_").lower(),
        "change": change(answer.change),
    }


def model(one: pb.Model) -> Document:
    """Return a model with its versions."""
    return {
        "name": one.name,
        "description": one.description,
        "framework": one.framework,
        "owner": one.owner,
        "aliases": dict(one.aliases),
        "versions": [version(each) for each in one.versions],
        "created_at": moment(one.created_time),
        "updated_at": moment(one.changed_time),
        "revision": one.revision,
    }


def route(one: routes_pb2.Route) -> Document:
    """Return a route."""
    key = one.routing_key
    source = routes_pb2.KeySource.Name(key.source).removeprefix("KEY_SOURCE_").lower() if key.source else "request"
    return {
        "model_name": one.model,
        "revision": one.revision,
        "change_id": one.change_id,
        "updated_at": moment(one.changed_time),
        "traffic": {each.version: each.weight_basis_points / 100 for each in one.backends},
        "edges": {
            each.version: {"attempts": each.attempts, "try_timeout_seconds": each.try_timeout_seconds}
            for each in one.backends
            if each.attempts or each.try_timeout_seconds
        },
        "routing_key": {"source": source, "parameter": key.parameter or None, "salt": key.salt or None},
        "pins": {pin.tenant: pin.version for pin in one.pins},
        "aliases": dict(one.aliases),
        "shadow": _shadow(one.shadow) if one.HasField("shadow") else None,
        "fallback": [_step(step) for step in one.fallback],
        "kill_switches": [{"version": each.version, "tenant": each.tenant or None} for each in one.kill_switches],
        "frozen": one.frozen,
    }


def change(one: pb.Change) -> Document:
    """Return a change."""
    return {
        "number": one.number,
        "id": one.change_id,
        "kind": one.kind,
        "subject": one.subject,
        "actor": one.actor,
        "time": moment(one.time),
        "reason": one.reason,
        "before": json.loads(one.before_json) if one.before_json else None,
        "after": json.loads(one.after_json) if one.after_json else None,
        "revision": one.revision,
        "hash": one.hash,
        "dry_run": one.dry_run,
    }


def routed(answer: Any) -> Document:
    """Return a changed route with what the routers said."""
    document: Document = {
        "route": route(answer.route),
        "change": change(answer.change),
        "confirmations": {one.router_id: one.seconds if one.seconds >= 0 else None for one in answer.confirmations},
    }
    if isinstance(answer, pb.RollbackResponse):
        document["elapsed_seconds"] = answer.elapsed_seconds if answer.elapsed_seconds >= 0 else None
    return document


def tenant(one: pb.TenantRecord) -> Document:
    """Return a tenant, without anything secret."""
    return {
        "name": one.tenant,
        "settings": json.loads(one.settings_json) if one.settings_json else {},
        "frozen": one.frozen,
        "revision": one.revision,
        "keys": [key(each) for each in one.keys],
    }


def key(one: pb.KeyRecord) -> Document:
    """Return a key, without its secret."""
    return {
        "id": one.key_id,
        "created_at": moment(one.created_time),
        "expires_at": moment(one.expires_time),
        "revoked": one.revoked,
        "last_used_at": moment(one.last_used_time),
    }


def placement(one: pb.Placement) -> Document:
    """Return where a replica stands, and why."""
    return {
        "action": one.action,
        "deployment_id": one.deployment_id,
        "model_name": one.model,
        "version": one.version,
        "worker": one.worker_id or None,
        "memory_bytes": one.memory_bytes,
        "reason": one.reason,
    }


def mesh(answer: pb.GetMeshResponse) -> Document:
    """Return who is there."""
    return {
        "members": [
            {
                "role": one.role,
                "name": one.name,
                "instance_id": one.instance_id,
                "silent_seconds": one.silent_seconds,
                "applied_sequence": one.applied_sequence,
                "leader": one.leader,
            }
            for one in answer.members
        ],
        "unpublished": answer.unpublished,
    }


def _shadow(one: routes_pb2.Shadow) -> Document:
    return {
        "version": one.version,
        "sample_percent": one.sample_basis_points / 100,
        "concurrency_limit": one.concurrency_limit_requests or None,
    }


def _step(one: routes_pb2.FallbackStep) -> Document:
    match one.WhichOneof("kind"):
        case "version":
            return {"version": one.version}
        case "cached":
            return {"cached": True}
        case _:
            return {"declared": True}
