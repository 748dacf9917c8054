"""Lists the public methods of a client, by where their code stands.

Runs in the client's environment: `python surface.py SURFACE.json` prints, as JSON,
`{"InferInput.shape": ["tritonclient/…/_infer_input.py", 58], …}`, paths below the installed packages. SURFACE.json is a table of
surfaces.toml.
"""

import functools
import importlib
import inspect
import json
import sys
import sysconfig
from pathlib import Path

ENTRANCES = ("__enter__", "__aenter__")
SECOND_WAYS = ("with_raw_response", "with_streaming_response")
"""Lazy attributes that lead to the same methods again."""


def methods_of(owner):
    """Yield the public methods of a class with their functions, inherited ones too."""
    for key in dir(owner):
        member = inspect.getattr_static(owner, key)
        member = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        if inspect.isfunction(member) and (not key.startswith("_") or key in ENTRANCES):
            yield key, member


def reached_from(owner, path):
    """Yield the methods of an object and of those behind its lazy attributes, by their path from the client."""
    for key, method in methods_of(type(owner)):
        yield f"{path}{key}", method
    for key in dir(type(owner)):
        is_lazy = isinstance(inspect.getattr_static(type(owner), key), functools.cached_property)
        if is_lazy and not key.startswith("_") and key not in SECOND_WAYS:
            yield from reached_from(getattr(owner, key), f"{path}{key}.")


def methods(surface):
    """Yield every public method of a surface."""
    for name in surface.get("classes", []):
        owner = imported(name)
        yield from ((f"{owner.__name__}.{key}", method) for key, method in methods_of(owner))
    for name in surface.get("clients", []):
        yield from reached_from(imported(name)(api_key="nobody's"), "")


def imported(name):
    """Return what a dotted name stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def place_of(method):
    """Return file and first line of what runs when a method is called: a decorator's own code is shared by all that it decorates."""
    code = inspect.unwrap(method).__code__
    return str(Path(code.co_filename).relative_to(sysconfig.get_path("purelib"))), code.co_firstlineno


print(json.dumps({name: place_of(method) for name, method in methods(json.loads(Path(sys.argv[1]).read_text()))}))
