"""Plants faults in the processes of a serve: imported by Python itself where this folder stands in PYTHONPATH.

PENSTOCK_PLANTS names what is planted (see `plants.py`). A plant replaces one piece of text of one module while it is imported; a text
that is not there exactly once ends the process, so that a plant cannot silently stop planting when the product changes. The product
knows nothing of this, and nothing of it is installed.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType

from tests.faults.mutants.plant import Plant
from tests.faults.mutants.plants import PLANTS

NO_SUCH_TEXT = 99


class Planted(SourceFileLoader):
    """Compiles a module with texts replaced; what is compiled is kept nowhere."""

    plants: tuple[Plant, ...] = ()

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        text = self.get_data(path).decode()
        for plant in self.plants:
            if text.count(plant.old) != 1:
                sys.stderr.write(f"plant {plant.name}: its text is {text.count(plant.old)} times in {fullname}\n")
                sys.stderr.flush()
                os._exit(NO_SUCH_TEXT)
            text = text.replace(plant.old, plant.new)
        return compile(text, path, "exec", dont_inherit=True)


class Planting(MetaPathFinder):
    """Finds the modules in which something is planted."""

    def __init__(self, plants: tuple[Plant, ...]) -> None:
        self._plants = plants

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        mine = tuple(plant for plant in self._plants if plant.module == fullname)
        spec = PathFinder.find_spec(fullname, path) if mine else None
        if spec is None or spec.origin is None:
            return None
        loader = Planted(fullname, spec.origin)
        loader.plants = mine
        spec.loader = loader
        return spec


_named = [name for name in os.environ.get("PENSTOCK_PLANTS", "").split(",") if name]
if _named:
    sys.meta_path.insert(0, Planting(tuple(PLANTS[name] for name in _named)))
