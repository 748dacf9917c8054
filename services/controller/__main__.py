"""`python -m services.controller --config FILE`."""

from __future__ import annotations

from services.chassis.entry import main
from services.controller.app import controller
from services.controller.config import ControllerSettings

if __name__ == "__main__":
    main("controller", ControllerSettings, controller)
