"""Everything that HTTP answers, in one list."""

from __future__ import annotations

from services.router.control import Control
from services.router.controller_routes import ControllerRoutes
from services.router.embeddings import Embeddings
from services.router.http_routes import Routes
from services.router.http_service import Calls
from services.router.invocations import Invocations
from services.router.later_routes import later_routes
from services.router.model_signatures import ControlSignatures
from services.router.oip_routes import OipRoutes
from services.router.platform_routes import PlatformRoutes
from services.router.rest_predict import RestPredict
from services.router.v1_predict import V1Predict


def http_surface(control: Control, calls: Calls, *, metrics_port: int = 8002, default_model: str = "") -> Routes:
    """Return the routes of all faces.

    Args:
        control: answers everything but inference.
        calls: runs models; the CallBuffer of the front that serves the routes.
        metrics_port: told to who looks for metrics here.
        default_model: the model of `/invocations` when several are served.
    """
    signatures = ControlSignatures(control)
    return Routes(
        [
            *OipRoutes(control).routes(),
            *RestPredict(signatures).routes(),
            *ControllerRoutes(control.controllers).routes(),
            *V1Predict(signatures, control).routes(),
            *Embeddings(signatures, calls).routes(),
            *Invocations(signatures, default_model=default_model).routes(),
            *PlatformRoutes(control, metrics_port=metrics_port).routes(),
            *later_routes(),
        ]
    )
