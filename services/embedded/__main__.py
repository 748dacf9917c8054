"""`python -m services.embedded --config FILE --set repository=…`; `penstock serve` runs it."""

from __future__ import annotations

from services.chassis.entry import main
from services.embedded.app import serve
from services.embedded.settings import EmbeddedSettings

if __name__ == "__main__":
    main("embedded", EmbeddedSettings, serve)
