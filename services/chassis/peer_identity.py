"""Who is at the other end, by its certificate: what it is for, and which instance it is, as `spiffe://<trust domain>/<role>/<id>`.

An authority that signs for a whole mesh vouches for routers, workers and controllers alike, so that by its word alone a worker could pass
for a router. With a trust domain set, the other side's certificate has to carry exactly one URI, of that domain and of a role that has
something to do here. The rule is that of X.509-SVIDs (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

TRUST_DOMAIN = r"^([a-z0-9][a-z0-9._-]{0,254})?$"
"""What a trust domain looks like in settings; empty asks for no names."""

SCHEME = "spiffe://"

log = structlog.get_logger(__name__)


class Role(StrEnum):
    """What a certificate is for."""

    ROUTER = "router"
    WORKER = "worker"
    CONTROLLER = "controller"
    OPERATOR = "operator"
    """A person or a program of theirs that calls the controller itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRule:
    """Who may be at the other end."""

    trust_domain: str
    roles: tuple[Role, ...]
    is_named: bool = False
    """Whether the id must be the one that is called, beside the role."""

    def refusal(self, uris: Sequence[str], called: str | None = None) -> str | None:
        """Pure: say why a certificate with these URIs is not let in; None lets it in."""
        if len(uris) != 1:
            return f"the certificate carries {len(uris)} URIs, not one {self._wanted(called)}"
        domain, _, path = uris[0].removeprefix(SCHEME).partition("/")
        role, _, instance = path.partition("/")
        is_one = uris[0].startswith(SCHEME) and domain == self.trust_domain and role in self.roles
        if is_one and instance and "/" not in instance and (not self.is_named or instance == called):
            return None
        return f"the certificate is that of {uris[0][:200]!r}, not of {self._wanted(called)}"

    def _wanted(self, called: str | None) -> str:
        who = called if self.is_named and called is not None else "<id>"
        return " or ".join(f"{SCHEME}{self.trust_domain}/{role}/{who}" for role in self.roles)


def rule_of(trust_domain: str, *roles: Role, is_named: bool = False) -> PeerRule | None:
    """Return the rule of a setting; None where it names no trust domain."""
    return PeerRule(trust_domain=trust_domain, roles=roles, is_named=is_named) if trust_domain else None


def vetted(context: ssl.SSLContext, rule: PeerRule) -> ssl.SSLContext:
    """Make a context end a handshake with somebody that the rule does not let in, before either side can say a word."""

    class Vetted(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            refusal = rule.refusal(_uris(self.getpeercert()), self.server_hostname)
            if refusal is not None:
                log.warning("peer_refused", reason=refusal)
                raise ssl.SSLCertVerificationError(refusal)

    context.sslobject_class = Vetted  # pyright: ignore[reportAttributeAccessIssue]  typeshed has it for the class only
    return context


def _uris(certificate: Any) -> list[str]:
    """Return the URIs of what `getpeercert` gave."""
    return [value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "URI"]
