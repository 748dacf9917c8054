"""`python -m services.router --config FILE`."""

from __future__ import annotations

from services.chassis.entry import main
from services.router.app import router
from services.router.config import RouterSettings

if __name__ == "__main__":
    main("router", RouterSettings, router)
