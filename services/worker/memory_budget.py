"""What models may use of a worker's memory, and who uses it. Pure.

A load asks with an estimate, made from its files, before anything is opened, and commits what was measured afterwards. What is
measured is the growth of the process's resident memory during the load, so loads should not overlap much, and traffic on other models
is counted in; it errs upwards. A budget of 0 is no limit: use is still added up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.contracts.errors import MemoryBudgetExceeded

ESTIMATE_FACTOR = 1.3
"""Memory of a session by bytes of its model files: weights are copied out of the file, activations and the graph come on top."""

SESSION_BYTES = 4 << 20
"""Memory of a session of an empty model."""

_MEBIBYTE = 1 << 20


@dataclass(slots=True, kw_only=True)
class MemoryBudget:
    """Keeps the sum of what replicas use at or below the budget."""

    budget_bytes: int = 0
    _used: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def used_bytes(self) -> int:
        """What all replicas use or have reserved."""
        return sum(self._used.values())

    def reserve(self, replica_id: int, name: str, needed_bytes: int) -> None:
        """Set aside what a load is expected to need.

        Raises:
            MemoryBudgetExceeded: it does not fit; the message has the numbers.
        """
        self._require(name, needed_bytes, "is expected to need")
        self._used[replica_id] = needed_bytes

    def settle(self, replica_id: int, name: str, measured_bytes: int) -> None:
        """Replace a reservation by what was measured; the reservation is given back when that does not fit.

        Raises:
            MemoryBudgetExceeded: it does not fit; the replica has to be closed.
        """
        self.release(replica_id)
        self._require(name, measured_bytes, "needs")
        self._used[replica_id] = measured_bytes

    def release(self, replica_id: int) -> None:
        """Give back what a replica used; does nothing when it used nothing."""
        self._used.pop(replica_id, None)

    def _require(self, name: str, needed_bytes: int, verb: str) -> None:
        used = self.used_bytes
        if not self.budget_bytes or used + needed_bytes <= self.budget_bytes:
            return
        raise MemoryBudgetExceeded(
            f"{name} {verb} {_mebibytes(needed_bytes)} of memory; {_mebibytes(used)} of the budget of "
            f"{_mebibytes(self.budget_bytes)} are in use: unload a model, or raise the memory budget"
        )


def estimated_bytes(file_bytes: int) -> int:
    """Return what a version probably needs, from the bytes of its model files."""
    return int(file_bytes * ESTIMATE_FACTOR) + SESSION_BYTES


def _mebibytes(count: int) -> str:
    return f"{count / _MEBIBYTE:.1f} MiB"
