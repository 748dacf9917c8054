"""Every method of the controller's service, by name: one table for gRPC and HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.controller.deployments_servicer import DeploymentsServicer
from services.controller.ledger_servicer import LedgerServicer
from services.controller.models_servicer import ModelsServicer, Uploads
from services.controller.platform_servicer import PlatformServicer
from services.controller.rights import Operation, guarded
from services.controller.tenants_servicer import TenantsServicer
from services.controller.traffic_servicer import TrafficServicer
from services.controller.verification_servicer import VerificationServicer


@dataclass(frozen=True, slots=True, kw_only=True)
class Servicers:
    """Who answers what."""

    uploads: Uploads
    models: ModelsServicer
    verification: VerificationServicer
    deployments: DeploymentsServicer
    traffic: TrafficServicer
    tenants: TenantsServicer
    ledger: LedgerServicer
    platform: PlatformServicer


def operations(by: Servicers) -> Mapping[str, Operation]:
    """Return the operations by method name; each answers what its caller may see."""
    return {name: guarded(name, operation) for name, operation in _operations(by).items()}


def _operations(by: Servicers) -> Mapping[str, Operation]:
    return {
        "UploadBlob": by.uploads.take,
        "GetUpload": by.uploads.state,
        "RegisterVersion": by.models.register_version,
        "ListModels": by.models.list_models,
        "GetModel": by.models.get_model,
        "SetAlias": by.models.set_alias,
        "VerifyVersion": by.verification.verify_version,
        "CreateDeployment": by.deployments.create_deployment,
        "ListDeployments": by.deployments.list_deployments,
        "UpdateDeployment": by.deployments.update_deployment,
        "DeleteDeployment": by.deployments.delete_deployment,
        "PlanPlacement": by.deployments.plan_placement,
        "SetTraffic": by.traffic.set_traffic,
        "PinTenant": by.traffic.pin_tenant,
        "SetShadow": by.traffic.set_shadow,
        "UpdateRoute": by.traffic.update_route,
        "Rollback": by.traffic.rollback,
        "SetTenant": by.tenants.set_tenant,
        "ListTenants": by.tenants.list_tenants,
        "CreateKey": by.tenants.create_key,
        "RevokeKey": by.tenants.revoke_key,
        "ListChanges": by.ledger.list_changes,
        "GetMesh": by.ledger.get_mesh,
        "Apply": by.platform.apply,
        "SetWritesFrozen": by.platform.set_writes_frozen,
        "Republish": by.platform.republish,
    }
