"""`python -m services.controller --config FILE`, or `… make-administrator --config FILE` for a key where nobody has one."""

from __future__ import annotations

import sys

from services.chassis.entry import main
from services.controller import way_back
from services.controller.app import controller
from services.controller.config import ControllerSettings

if __name__ == "__main__":
    if sys.argv[1:2] == [way_back.SUBCOMMAND]:
        way_back.main(sys.argv[2:])
    main("controller", ControllerSettings, controller)
