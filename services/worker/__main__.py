"""`python -m services.worker --config FILE`."""

from __future__ import annotations

from services.chassis.entry import main
from services.worker.app import worker
from services.worker.config import WorkerSettings

if __name__ == "__main__":
    main("worker", WorkerSettings, worker)
