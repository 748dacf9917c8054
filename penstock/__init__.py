"""penstock: a mesh that serves machine-learning models.

This package is what other programs import: the clients, the errors they raise and the generated stubs. The names below are loaded on
first use, so that `import penstock` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.client import AsyncClient, Client, ClientOptions, Prediction
    from penstock.contracts.errors import ServingError

__all__ = ["AsyncClient", "Client", "ClientOptions", "Prediction", "ServingError"]

_HOMES = {
    "AsyncClient": "penstock.client",
    "Client": "penstock.client",
    "ClientOptions": "penstock.client",
    "Prediction": "penstock.client",
    "ServingError": "penstock.contracts.errors",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    return getattr(import_module(home), name)
