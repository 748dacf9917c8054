"""How any process lives: signals, settings, logs, metrics, traces, feeds, deadlines."""

import importlib
import sys

# structlog.dev imports rich when it finds it, to print to people; no server does, and it would cost each of them 150 ms of its start.
# A None in sys.modules makes exactly that import fail; afterwards rich can be imported as ever.
if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]
