"""Who can reach what a process serves: other machines only with TLS and known callers, or where somebody says that it is meant."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """How the faces of a process are bound and guarded."""

    host: str
    has_tls: bool
    knows_callers: bool
    """Whether nobody may call without a key or a certificate."""
    is_meant: bool
    """Whether somebody has said `insecure_bind`."""

    @property
    def gaps(self) -> tuple[str, ...]:
        """What is missing for the address that is bound; nothing on this machine alone."""
        if is_of_this_machine(self.host):
            return ()
        return (*(() if self.has_tls else ("TLS",)), *(() if self.knows_callers else ("keys or client certificates",)))

    def check(self, guards: str) -> None:
        """Refuse gaps that nobody has said are meant; `guards` names the settings that ask callers who they are.

        Raises:
            ValueError: the message says what to set.
        """
        if self.gaps and not self.is_meant:
            raise ValueError(
                f"host {self.host!r} is reached from other machines without {' and without '.join(self.gaps)}: "
                f"set tls_certificate and tls_key, and {guards}; or insecure_bind = true if it is meant"
            )

    def warn(self) -> None:
        """Say at a start what stands open because somebody has said so."""
        if self.gaps:
            log.warning("insecure_bind", host=self.host, missing=list(self.gaps), effect="whoever reaches this machine can read or call")


def is_of_this_machine(host: str) -> bool:
    """Pure: whether an address to listen on is reached from this machine alone; names other than localhost are taken for reachable."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
