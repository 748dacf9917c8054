"""Who asks the steps of a graph: the graph's caller, who was admitted, counted and may call the graph.

A step is asked through the same door as every request. There it shows a key that nobody can send, and that stands for its caller without
rights or limits of its own: who may call a graph may call what it is made of, and pays for one request.
"""

from __future__ import annotations

from services.router.admission import Tenant, TenantPolicy


class Behalf(Tenant):
    """A tenant as the steps of its graphs see it."""

    __slots__ = ("within",)

    def __init__(self, *, name: str, number: int, within: tuple[str, ...]) -> None:
        """Take the tenant's names; `within` are the graphs around the step, the outermost first."""
        super().__init__(TenantPolicy(name=name, number=number))
        self.within = within


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
