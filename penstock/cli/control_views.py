"""What the controller answers, as documents that `-o json` prints and as text for people. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from penstock.cli import terminal
from penstock.cli.shares import percent
from penstock.cli.table import facts, table
from penstock.client.answers import (
    Change,
    Confirmation,
    Deployment,
    FallbackStep,
    GetMeshResponse,
    ModelVersion,
    Placement,
    Route,
    TenantRecord,
    key_word,
    status_word,
)

Document = dict[str, Any]

NO_DEPLOYMENTS = "no deployments; `penstock deploy MODEL@VERSION` makes one"
NO_CHANGES = "no changes"
NO_TENANTS = "no tenants; everybody may call"


def moment(seconds: float) -> str | None:
    """Return a time stamp in UTC, None for no time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else None


def version_document(one: ModelVersion) -> Document:
    """Return a registered version for printing."""
    return {
        "model": one.model,
        "version": one.version,
        "digest": one.digest,
        "size_bytes": one.size_bytes,
        "inputs": [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in one.inputs],
        "outputs": [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in one.outputs],
        "metadata": dict(one.metadata),
    }


def deployment_document(one: Deployment) -> Document:
    """Return a deployment for printing."""
    return {
        "id": one.deployment_id,
        "model": one.model,
        "version": one.version,
        "status": status_word(one),
        "reason": one.status_reason,
        "replicas": one.replicas,
        "ready_replicas": one.ready_replicas,
        "gpu_type": one.gpu_type or None,
        "traffic_percent": one.traffic_basis_points / 100,
        "created": moment(one.created_time),
        "changed": moment(one.changed_time),
        "revision": one.revision,
    }


def deployments_table(found: Sequence[Deployment]) -> str:
    """Return deployments as a table."""
    if not found:
        return NO_DEPLOYMENTS
    heads = ("id", "model", "version", "status", "ready", "traffic", "why")
    rows = [
        (
            one.deployment_id,
            one.model,
            one.version,
            status_word(one),
            f"{one.ready_replicas}/{one.replicas}",
            percent(one.traffic_basis_points),
            one.status_reason,
        )
        for one in found
    ]
    return table(heads, rows, width=terminal.width())


def route_document(route: Route) -> Document:
    """Return a route for printing."""
    shadow = route.shadow if route.HasField("shadow") else None
    return {
        "model": route.model,
        "revision": route.revision,
        "traffic": {one.version: one.weight_basis_points / 100 for one in route.backends},
        "routing_key": key_word(route),
        "routing_key_parameter": route.routing_key.parameter or None,
        "pins": {pin.tenant: pin.version for pin in route.pins},
        "aliases": dict(route.aliases),
        "shadow": {"version": shadow.version, "sample_percent": shadow.sample_basis_points / 100} if shadow else None,
        "fallback": [_step(step) for step in route.fallback],
        "kill_switches": [{"version": one.version, "tenant": one.tenant or None} for one in route.kill_switches],
        "frozen": route.frozen,
    }


def route_text(route: Route) -> str:
    """Return a route as names and values; what is not set is left out."""
    document = route_document(route)
    traffic = ", ".join(f"{one.version} {percent(one.weight_basis_points)}" for one in route.backends)
    shadow = document["shadow"]
    pairs: list[tuple[str, Any]] = [
        ("model", route.model),
        ("revision", route.revision),
        ("traffic", traffic),
        ("sticky by", document["routing_key_parameter"] or document["routing_key"]),
        ("pins", ", ".join(f"{tenant} → {version}" for tenant, version in document["pins"].items())),
        ("aliases", ", ".join(f"{alias} → {version}" for alias, version in document["aliases"].items())),
        ("shadow", f"{shadow['version']}, {shadow['sample_percent']:g} % copied" if shadow else ""),
        ("fallback", " → ".join(document["fallback"])),
        ("killed", ", ".join(f"{one['version']} for {one['tenant'] or 'all'}" for one in document["kill_switches"])),
        ("frozen", "yes, answers nobody" if route.frozen else ""),
    ]
    return facts([pair for pair in pairs if pair[1] != ""], width=terminal.width())


def _step(step: FallbackStep) -> str:
    match step.WhichOneof("kind"):
        case "version":
            return f"version {step.version}"
        case "cached":
            return "last cached answer"
        case _:
            return "declared answer"


def change_document(change: Change) -> Document:
    """Return a change for printing."""
    return {
        "number": change.number,
        "id": change.change_id,
        "kind": change.kind,
        "subject": change.subject,
        "actor": change.actor,
        "time": moment(change.time),
        "reason": change.reason,
        "before": _parsed(change.before_json),
        "after": _parsed(change.after_json),
        "revision": change.revision,
        "dry_run": change.dry_run,
    }


def difference(change: Change) -> str:
    """Return what a change changes, a line a field: `- old` and `+ new`."""
    before, after = _parsed(change.before_json) or {}, _parsed(change.after_json) or {}
    lines: list[str] = []
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            lines += [f"- {name}: {_short(before[name])}"] if name in before else []
            lines += [f"+ {name}: {_short(after[name])}"] if name in after else []
    return "\n".join(lines) or "nothing changes"


def changes_table(found: Iterable[Change]) -> str:
    """Return changes as a table, newest first."""
    rows = [(one.number, moment(one.time), one.actor, one.kind, one.subject, _in_short(one), one.reason) for one in found]
    return table(("no", "time", "who", "what", "of", "change", "why"), rows, width=terminal.width()) if rows else NO_CHANGES


def tenants_table(found: Sequence[TenantRecord]) -> str:
    """Return tenants as a table."""
    if not found:
        return NO_TENANTS
    rows = [(one.tenant, sum(not key.revoked for key in one.keys), "frozen" if one.frozen else "", one.settings_json) for one in found]
    return table(("tenant", "keys", "state", "settings"), rows, width=terminal.width())


def tenant_document(one: TenantRecord) -> Document:
    """Return a tenant for printing."""
    return {
        "tenant": one.tenant,
        "frozen": one.frozen,
        "revision": one.revision,
        "settings": _parsed(one.settings_json),
        "keys": [
            {
                "id": key.key_id,
                "created": moment(key.created_time),
                "expires": moment(key.expires_time),
                "revoked": key.revoked,
                "last_used": moment(key.last_used_time),
            }
            for key in one.keys
        ],
    }


def keys_table(found: Sequence[Document]) -> str:
    """Return keys, as their documents, as a table."""
    heads = ("id", "tenant", "created", "expires", "last used", "state")
    rows = [
        (one["id"], one["tenant"], one["created"], one["expires"] or "never", one["last_used"] or "", "revoked" if one["revoked"] else "")
        for one in found
    ]
    return table(heads, rows, width=terminal.width()) if rows else "no keys; `penstock tenants create-key NAME` makes one"


def placements_table(found: Sequence[Placement]) -> str:
    """Return a plan as a table."""
    rows = [(one.action, f"{one.model}@{one.version}", one.worker_id or None, one.memory_bytes, one.reason) for one in found]
    return table(("action", "what", "worker", "bytes", "why"), rows, width=terminal.width()) if rows else "nothing is placed"


def members_table(answer: GetMeshResponse) -> str:
    """Return the members of the mesh as a table."""
    rows = [
        (one.role, one.name, one.instance_id, f"{one.silent_seconds:.1f} s ago", "leads" if one.leader else "") for one in answer.members
    ]
    return table(("role", "name", "instance", "heard", ""), rows, width=terminal.width())


def confirmations_text(confirmations: Sequence[Confirmation]) -> str:
    """Return who confirmed a change, and when the last did."""
    silent = [one.router_id for one in confirmations if one.seconds < 0]
    heard = [one.seconds for one in confirmations if one.seconds >= 0]
    if not confirmations:
        return "no router is there to confirm it"
    told = f"{len(heard)} of {len(confirmations)} routers confirmed" + (f" within {max(heard):.3f} s" if heard else "")
    return told + (f"; no word from {', '.join(silent)}" if silent else "")


def _in_short(change: Change) -> str:
    return difference(change).replace("\n", "  ")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
