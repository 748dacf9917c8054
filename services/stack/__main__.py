"""`python -m services.stack --config FILE --set name=…`; `penstock up` runs it."""

from __future__ import annotations

from services.chassis.entry import main
from services.stack.app import up
from services.stack.settings import StackSettings

if __name__ == "__main__":
    main("stack", StackSettings, up, log_path=lambda settings: settings.log_path)
