"""What a caller may ask of the controller, method by method; a method without a row is not served.

operate   operators: whatever changes the mesh
register  operators and registrars: files and versions; a registration asks for the model's name as well
view      operators and viewers: what names other tenants' doings
own       every tenant: the answer holds the models that it may call, and of tenants itself; what is not its own looks absent
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any

from penstock.contracts.errors import TenantForbidden
from services.controller.callers import Caller
from services.controller.registry import absent_model
from services.controller.request_checks import check_request

Operation = Callable[[Caller, Any], Awaitable[Any]]


class Right(Enum):
    """Who may call a method."""

    OPERATE = "operate"
    REGISTER = "register"
    VIEW = "view"
    OWN = "own"


RIGHTS: Mapping[str, Right] = {
    "UploadBlob": Right.REGISTER,
    "GetUpload": Right.REGISTER,
    "RegisterVersion": Right.REGISTER,
    "ListModels": Right.OWN,
    "GetModel": Right.OWN,
    "SetAlias": Right.OPERATE,
    "VerifyVersion": Right.OPERATE,
    "CreateDeployment": Right.OPERATE,
    "ListDeployments": Right.OWN,
    "UpdateDeployment": Right.OPERATE,
    "DeleteDeployment": Right.OPERATE,
    "PlanPlacement": Right.OWN,
    "SetTraffic": Right.OPERATE,
    "PinTenant": Right.OPERATE,
    "SetShadow": Right.OPERATE,
    "UpdateRoute": Right.OPERATE,
    "Rollback": Right.OPERATE,
    "SetTenant": Right.OPERATE,
    "ListTenants": Right.OWN,
    "CreateKey": Right.OPERATE,
    "RevokeKey": Right.OPERATE,
    "ListChanges": Right.VIEW,
    "GetMesh": Right.VIEW,
    "Apply": Right.OPERATE,
    "SetWritesFrozen": Right.OPERATE,
    "Republish": Right.OPERATE,
}


def needs_operator(method: str) -> bool:
    """Whether only operators may call a method."""
    return RIGHTS[method] is Right.OPERATE


def guarded(method: str, operation: Operation) -> Operation:
    """Return the operation, so that whoever may not see everything sees what is its own.

    Raises:
        KeyError: the method has no row.
    """
    right = RIGHTS[method]

    async def answer(caller: Caller, request: Any) -> Any:
        if hasattr(request, "ListFields"):  # a stream of pieces is none
            check_request(request)
        if right is Right.REGISTER and not caller.may_register:
            raise TenantForbidden(f"tenant {caller.tenant!r} may not register versions: that needs the role registrar and model_prefixes")
        if caller.sees_all or right is Right.REGISTER:
            return await operation(caller, request)
        if right is not Right.OWN:
            raise TenantForbidden(f"tenant {caller.tenant!r} may call models but not look at what others do: that needs the role viewer")
        if method == "GetModel" and not caller.may_see(request.model):
            raise absent_model(request.model)
        found = await operation(caller, request)
        _narrow(method, found, caller)
        return found

    return answer


def _narrow(method: str, answer: Any, caller: Caller) -> None:
    """Take what is not the caller's out of an answer."""
    if method == "ListModels":
        _keep(answer.models, lambda one: caller.may_see(one.name))
    elif method == "ListDeployments":
        _keep(answer.deployments, lambda one: caller.may_see(one.model))
    elif method == "PlanPlacement":
        _keep(answer.placements, lambda one: caller.may_see(one.model))
    elif method == "ListTenants":
        _keep(answer.tenants, lambda one: one.tenant == caller.tenant)
    elif method == "GetModel":
        _keep(answer.route.pins, lambda one: one.tenant == caller.tenant)
        _keep(answer.route.kill_switches, lambda one: one.tenant in ("", caller.tenant))


def _keep(found: Any, is_own: Callable[[Any], bool]) -> None:
    kept = [one for one in found if is_own(one)]
    if len(kept) < len(found):
        del found[:]
        found.extend(kept)
