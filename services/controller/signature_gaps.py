"""Whether one version can answer what another is asked. Pure: signatures in, gaps out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def signature_gaps(asked: Mapping[str, object], stand_in: Mapping[str, object]) -> tuple[str, ...]:
    """Return why a version cannot stand in for another; a version without a known signature has no known gaps.

    Args:
        asked: `inputs` and `outputs` (name, datatype, optional) of the version that callers ask for.
        stand_in: those of the version that would answer.
    """
    if not asked or not stand_in:
        return ()
    sent, taken = _tensors(asked, "inputs"), _tensors(stand_in, "inputs")
    wanted, given = _tensors(asked, "outputs"), _tensors(stand_in, "outputs")
    gaps = [
        f"input {name!r} is not among what callers send" for name, tensor in taken.items() if name not in sent and not _optional(tensor)
    ]
    gaps += [f"input {name!r} is not taken" for name in sent if name not in taken]
    gaps += [f"output {name!r} is missing" for name in wanted if name not in given]
    for what, mine, other in (("input", sent, taken), ("output", wanted, given)):
        gaps += [
            f"{what} {name!r} is {other[name].get('datatype')}, not {tensor.get('datatype')}"
            for name, tensor in mine.items()
            if name in other and other[name].get("datatype") != tensor.get("datatype")
        ]
    return tuple(gaps)


def _tensors(signature: Mapping[str, object], what: str) -> Mapping[str, Mapping[str, Any]]:
    listed = cast("list[Mapping[str, Any]]", signature.get(what, []))
    return {str(tensor.get("name")): tensor for tensor in listed}


def _optional(tensor: Mapping[str, Any]) -> bool:
    return bool(tensor.get("optional", False))
