"""How any process lives: signals, settings, logs, metrics, traces, feeds, deadlines."""

import importlib
import os
import sys

# gRPC's fork handlers crash a child now and then between fork and exec while calls are under way (grpcio 1.81 under uvloop: 4 or 5 of 60
# children, none without them). Nothing of ours forks without exec. gRPC reads this when it is imported, so it stands before everything.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# structlog.dev imports rich when it finds it, to print to people; no server does, and it would cost each of them 150 ms of its start.
# A None in sys.modules makes exactly that import fail; afterwards rich can be imported as ever.
if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # what bars an import, by Python's own rules, and no module
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]
