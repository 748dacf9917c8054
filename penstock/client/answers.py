"""The messages that the controller answers with, by the names under which programs use them, and their enums as words."""

from __future__ import annotations

from penstock.v1.controller_pb2 import (
    Change,
    Confirmation,
    Deployment,
    DeploymentStatus,
    GetMeshResponse,
    Member,
    Model,
    ModelVersion,
    Placement,
    SignatureState,
    TenantRecord,
    VerifyVersionResponse,
)
from penstock.v1.routes_pb2 import FallbackStep, KeySource, Route

__all__ = [
    "Change",
    "Confirmation",
    "Deployment",
    "FallbackStep",
    "GetMeshResponse",
    "Member",
    "Model",
    "ModelVersion",
    "Placement",
    "Route",
    "TenantRecord",
    "VerifyVersionResponse",
    "key_word",
    "signature_word",
    "status_word",
]


def status_word(deployment: Deployment) -> str:
    """Return a deployment's status as people write it, for example `active`."""
    return DeploymentStatus.Name(deployment.status).removeprefix("DEPLOYMENT_STATUS_").lower()


def key_word(route: Route) -> str:
    """Return the source of a route's key as people write it, for example `tenant`."""
    if not route.routing_key.source:
        return "request"
    return KeySource.Name(route.routing_key.source).removeprefix("KEY_SOURCE_").lower()


def signature_word(answer: VerifyVersionResponse) -> str:
    """Return what the signature of a verified version is, as people write it, for example `unknown key`."""
    return SignatureState.Name(answer.signature_state).removeprefix("SIGNATURE_STATE_").lower().replace("_", " ")
