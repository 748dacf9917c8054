"""What a model declares about itself to routers: shares and aliases, where no controller writes its route, and how it is to be served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from google.protobuf.message import DecodeError

from penstock.contracts.routes import WHOLE, Backend
from penstock.oip.v2 import model_config_pb2

TRAFFIC_PARAMETER = "penstock.traffic"
"""Model parameter that declares shares: a JSON object from version to basis points."""

ALIASES_PARAMETER = "penstock.aliases"
"""Model parameter that gives versions other names: a JSON object from alias to version."""

SHARED_CACHE_PARAMETER = "penstock.response_cache.shared"
"""Model parameter that lets all routers have cached answers: `true`."""


def declared_aliases(model_config: bytes) -> Mapping[str, str]:
    """Return the aliases that a serialised ModelConfig declares, none when it cannot be read."""
    return {name: version for name, version in _declared(model_config, ALIASES_PARAMETER).items() if isinstance(version, str)}


def declared_backends(model_config: bytes) -> tuple[Backend, ...]:
    """Return the shares that a serialised ModelConfig declares; none when they are not a whole."""
    shares = {version: share for version, share in _declared(model_config, TRAFFIC_PARAMETER).items() if isinstance(share, int)}
    if sum(shares.values()) != WHOLE:
        return ()
    return tuple(Backend(version=version, weight_basis_points=share) for version, share in sorted(shares.items()))


def declared_default_level(model_config: bytes) -> int:
    """Return the priority level of requests that name none, as a serialised ModelConfig declares it; 0 for models without levels."""
    try:
        return model_config_pb2.ModelConfig.FromString(model_config).dynamic_batching.default_priority_level
    except DecodeError:
        return 0


def declares_shared_cache(model_config: bytes) -> bool:
    """Whether a serialised ModelConfig lets all routers have its cached answers."""
    try:
        parsed = model_config_pb2.ModelConfig.FromString(model_config)
    except DecodeError:
        return False
    return SHARED_CACHE_PARAMETER in parsed.parameters and parsed.parameters[SHARED_CACHE_PARAMETER].string_value == "true"


def _declared(model_config: bytes, parameter: str) -> dict[str, object]:
    try:
        parsed = model_config_pb2.ModelConfig.FromString(model_config)
        content = json.loads(parsed.parameters[parameter].string_value or "{}")
    except (DecodeError, ValueError):
        return {}
    return cast("dict[str, object]", content) if isinstance(content, dict) else {}
