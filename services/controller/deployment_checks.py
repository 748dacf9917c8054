"""Refuses deployments that cannot come to anything. Pure: values in, problems out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config_text import check_settings
from penstock.contracts.routes import WHOLE
from penstock.contracts.signature import ANY
from services.controller.deployment_values import DeploymentSpec, Resources, Scaling
from services.controller.secrecy import REFERENCES, is_secret_name, secret_places

MOST_REPLICAS = 1_000
MOST_BATCH = 65_536
LONGEST_QUEUE_DELAY_MICROSECONDS = 10_000_000
LONGEST_TIMEOUT_SECONDS = 3_600.0
LARGEST_CONFIG_ENTRIES = 1_000
MOST_CPUS = 1_024
MOST_MEMORY_BYTES = 1 << 50
MOST_WORDS = 200
"""Characters of what is said of one setting, names that others made up included."""

Problem = tuple[str, str]
"""JSON pointer, and what is wrong there."""


def spec_problems(spec: DeploymentSpec) -> tuple[Problem, ...]:
    """Return all that is wrong with a specification on its own, whatever the state of the mesh."""
    problems = [*_replica_problems(spec.replicas), *_resource_problems(spec.resources), *config_problems(spec.config)]
    if spec.version == "latest":
        problems.append(("/version", "'latest' names no version: a deployment is of one version"))
    if not 0 <= spec.traffic_basis_points <= WHOLE:
        problems.append(("/traffic_basis_points", f"{spec.traffic_basis_points} is not within 0 and {WHOLE}"))
    if not _is_label(spec.gpu_type):
        problems.append(("/gpu_type", "use up to 63 printable characters"))
    return tuple(problems)


def scaling_problems(scaling: Scaling) -> tuple[Problem, ...]:
    """Return all that is wrong with a change of how a deployment runs."""
    problems: list[Problem] = []
    if scaling.replicas is not None:
        problems += _replica_problems(scaling.replicas)
    if scaling.resources is not None:
        problems += _resource_problems(scaling.resources)
    return (*problems, *config_problems(scaling.config or {}))


def config_problems(config: Mapping[str, object]) -> tuple[Problem, ...]:
    """Return what is wrong with settings in the vocabulary of model.toml, at any depth."""
    if sum(1 for _ in _entries("", config)) > LARGEST_CONFIG_ENTRIES:
        return (("/config", f"more than {LARGEST_CONFIG_ENTRIES} entries"),)
    secrets = [(f"/config{pointer}", _INLINE) for pointer in secret_places(config)]
    hidden = {pointer for pointer, _ in secrets}
    found = [(f"/config{pointer}", problem) for pointer, value in _entries("", config) if (problem := _setting_problem(pointer, value))]
    found = [*found, *_form_problems(config, [pointer for pointer, _ in (*secrets, *found)])]
    return (*secrets, *((pointer, problem) for pointer, problem in found if pointer not in hidden))


def batch_problems(config: Mapping[str, object], signature: Mapping[str, object]) -> tuple[Problem, ...]:
    """Return why settings ask for batches of a version that takes rows of a fixed number alone; every load would fail by it."""
    wanted = config.get("max_batch_size")
    if not wanted or signature.get("max_batch_size"):
        return ()
    tensors = [one for side in ("inputs", "outputs") for one in cast("Sequence[Mapping[str, Any]]", signature.get(side, ()))]
    fixed = [(one["name"], one["shape"]) for one in tensors if one.get("shape") and one["shape"][0] != ANY]
    if not fixed:
        return ()
    name, shape = fixed[0]
    problem = (
        f"is {wanted}, but {str(name)[:80]!r} of the version has the shape {list(shape)}, whose first dimension is fixed: leave it out"
    )
    return (("/config/max_batch_size", problem),)


def _form_problems(config: Mapping[str, object], known: Sequence[str]) -> list[Problem]:
    """Return the first setting that does not exist or is of another form, unless something in it was found already."""
    try:
        check_settings(config)
    except InvalidInput as refusal:
        pointer = f"/config/{re.sub(r'[.[]', '/', (refusal.field or '').replace(']', ''))}"
        problem = refusal.message.removeprefix("model configuration: ").partition("; known here")[0]
        is_known = any(f"{place}/".startswith(f"{pointer}/") for place in known)
        return [] if is_known else [(pointer, problem[:MOST_WORDS])]
    return []


def _replica_problems(replicas: int) -> list[Problem]:
    return [] if 1 <= replicas <= MOST_REPLICAS else [("/replicas", f"{replicas} is not within 1 and {MOST_REPLICAS}")]


def _resource_problems(resources: Resources) -> list[Problem]:
    problems: list[Problem] = []
    if not 0 <= resources.memory_bytes <= MOST_MEMORY_BYTES:
        problems.append(("/resources/memory_bytes", f"{resources.memory_bytes} is not within 0 and {MOST_MEMORY_BYTES}"))
    if not 0 <= resources.cpus <= MOST_CPUS:
        problems.append(("/resources/cpus", f"{resources.cpus} is not within 0 and {MOST_CPUS}"))
    return problems


def _setting_problem(pointer: str, value: object) -> str:
    name = pointer.rpartition("/")[2]
    if isinstance(value, str) and value.startswith(REFERENCES) and any(map(is_secret_name, pointer.split("/"))):
        return _NO_REFERENCE
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number"
    limit = _LIMITS.get(name)
    if limit is None or isinstance(value, Mapping | list):
        return ""
    least, most = limit
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return f"{str(value)[:40]} is not within {least} and {most}"
    return "" if name.endswith("seconds") or isinstance(value, int) else f"{value} is no whole number"


def _is_label(text: str) -> bool:
    return len(text) <= 63 and text.isprintable()


def _entries(pointer: str, value: object) -> Iterator[tuple[str, object]]:
    pairs: Sequence[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        pairs = list(cast("Mapping[object, object]", value).items())
    elif isinstance(value, list):
        pairs = list(enumerate(cast("list[object]", value)))
    for key, held in pairs:
        place = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
        yield place, held
        yield from _entries(place, held)


_INLINE = "a secret does not stand in a specification: give it to those who need it where they run"
_NO_REFERENCE = "references to secrets are not resolved here, whosever they are: leave it out"

_LIMITS: Mapping[str, tuple[Any, Any]] = {
    "max_batch_size": (1, MOST_BATCH),
    "preferred_batch_size": (1, MOST_BATCH),
    "max_queue_delay_microseconds": (0, LONGEST_QUEUE_DELAY_MICROSECONDS),
    "max_queue_size": (1, 1_000_000),
    "default_timeout_microseconds": (1, int(LONGEST_TIMEOUT_SECONDS * 1_000_000)),
    "timeout_seconds": (0.001, LONGEST_TIMEOUT_SECONDS),
    "priority_levels": (0, 1_000),
}
