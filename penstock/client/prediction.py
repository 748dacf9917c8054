"""What a call returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One answer.

    Arrays are read-only views of the answer's bytes. BYTES outputs are arrays of `bytes`; BF16 outputs are uint16 bit patterns
    (`penstock.contracts.tensors.bf16_to_fp32` widens them).
    """

    model: str
    version: str
    """The version that answered."""
    outputs: Mapping[str, NDArray[Any]]
    request_id: str = ""

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one output."""
        return self.outputs[name]
