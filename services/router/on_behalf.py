"""Who asks the steps of a graph: the graph's caller, who was admitted, counted and may call the graph.

A step is asked through the same door as every request. There it shows a key that nobody can send, and that stands for its caller without
rights or limits of its own: who may call a graph may call what it is made of, and pays for one request.
"""

from __future__ import annotations

from services.router.admission import Tenant, TenantPolicy


class Behalf(Tenant):
    """A tenant as the steps of its graphs see it."""

    __slots__ = ("depth",)

    def __init__(self, *, name: str, number: int, depth: int) -> None:
        """Take the tenant's names; `depth` is how many graphs are around the step."""
        super().__init__(TenantPolicy(name=name, number=number))
        self.depth = depth


class StepKey(str):
    """The key that steps show. Its text is no key's: it holds a character that no header may."""

    __slots__ = ("tenant",)

    tenant: Behalf

    @classmethod
    def of(cls, tenant: Behalf) -> StepKey:
        """Return the key that stands for a tenant."""
        key = cls(f"\0step of {tenant.policy.name}")
        key.tenant = tenant
        return key
