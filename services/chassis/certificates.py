"""Certificates of links, followed while they are in use: new files hold from the next handshake on, open connections keep what they have.

A certificate and its key are two files, so that for a moment they may not fit: what cannot be loaded leaves the old ones in force, is said
once, and is tried again at the next handshake. Authorities are replaced whole: one that is no longer in its file vouches for nobody.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client.metrics_core import Metric

from services.chassis.clock import Clock
from services.chassis.key_files import Stamps, check_key, stamps
from services.chassis.metrics import Merge
from services.chassis.peer_identity import PeerRule, vetted
from services.chassis.process import running

LOOK_SECONDS = 10.0
"""How often the dates of certificates are looked at."""
DAY_SECONDS = 86_400.0
ALARM_SECONDS = 14 * DAY_SECONDS
"""How long before its end a certificate is an error in the log."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where the certificates of one side of a link are, in PEM."""

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None
    """Who vouches for the other side."""
    revocations: Path | None = None
    """Lists of the certificates that authorities have taken back; with it, an authority without a list in force vouches for nobody."""
    peers: PeerRule | None = None
    """Who the other side must be by its certificate, beside being vouched for."""

    def stamps(self) -> Stamps:
        """Return what changes when a file is replaced.

        Raises:
            OSError: a file is not there.
        """
        return stamps((self.certificate, self.key, self.authorities, self.revocations))


class Complaint:
    """Says why files cannot be loaded: once, until they could be or the reason is another."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._said = ""

    def say(self, reason: str) -> None:
        """Say why, unless that was the last thing said."""
        if reason != self._said:
            self._said = reason
            log.warning("tls_files_unreadable", reason=reason)

    def withdraw(self) -> None:
        """Forget it: the files were loaded."""
        self._said = ""


class FollowedTls:
    """A TLS context that is as new as its files; ask for it at every handshake."""

    def __init__(self, files: CertificateFiles, make: Callable[[CertificateFiles], ssl.SSLContext]) -> None:
        """Make the first context.

        Raises:
            OSError: a file cannot be read, or (`ssl.SSLError`) holds no certificate or key that fit.
            KeyExposed: others may read the key.
        """
        self._files = files
        self._make = make
        self._stamps = files.stamps()
        self._context = make(files)
        self._complaint = Complaint()

    @property
    def is_named(self) -> bool:
        """Whether the other side has to be who is called: a handshake needs its name then."""
        return self._context.check_hostname or (self._files.peers is not None and self._files.peers.is_named)

    def context(self) -> ssl.SSLContext:
        """Return the context in force."""
        try:
            stamps = self._files.stamps()
            if stamps != self._stamps:
                # Looked at before they are read: what changes in between is read again.
                self._context = self._make(self._files)
                self._stamps = stamps
                self._complaint.withdraw()
                log.info("tls_files_reloaded", certificate_chain=str(self._files.certificate))
        except OSError as error:
            self._complaint.say(str(error))
        return self._context


def client_side(files: CertificateFiles) -> ssl.SSLContext:
    """Return what a link is opened with: the other side must come from the authorities, under whatever name."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(files.authorities))
    context.check_hostname = False
    if files.certificate is not None:
        _identify(context, files.certificate, files.key)
    return _strict(context, files)


def named_client_side(files: CertificateFiles) -> ssl.SSLContext:
    """Return the same, but the other side's certificate must carry the name that is called."""
    context = client_side(files)
    context.check_hostname = True
    return context


def server_side(files: CertificateFiles) -> ssl.SSLContext:
    """Return a context for a listener that stays open while files change; with authorities, callers need certificates of theirs.

    Raises:
        OSError: a file cannot be read, or (`ssl.SSLError`) holds no certificate or key that fit.
        KeyExposed: others may read the key.
    """
    followed = FollowedTls(files, _server_side)
    listening = _server_side(files)

    def renew(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        # A listener keeps its first context for ever; every handshake asks for the newest certificate and authorities here.
        connection.context = followed.context()

    listening.sni_callback = renew  # pyright: ignore[reportAttributeAccessIssue]  typeshed wants SSLSocket's own type
    return listening


def _server_side(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if files.certificate is not None:
        _identify(context, files.certificate, files.key)
    if files.authorities is None:
        return context
    context.load_verify_locations(files.authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    # A session that is resumed shows no certificate: it would outlive its authority, its revocation and its end.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return _strict(context, files)


def _identify(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    check_key(key or certificate)
    # A key with a password would be asked for at the terminal, and the loop would wait; with this it is an error like others.
    context.load_cert_chain(certificate, key, password="")


def _strict(context: ssl.SSLContext, files: CertificateFiles) -> ssl.SSLContext:
    """Ask for more than somebody who vouches."""
    if files.revocations is not None:
        context.load_verify_locations(files.revocations)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    return context if files.peers is None else vetted(context, files.peers)


class CertificateWatch:
    """Says in good time when certificates end: a metric always, an error in the log once a day from ALARM_SECONDS before."""

    def __init__(self, files: Mapping[str, Path | None], wall_seconds: Callable[[], float] = time.time) -> None:
        """Store the files by what they are used for; those that are None are not there to watch."""
        self._files = {use: path for use, path in files.items() if path is not None}
        self._wall_seconds = wall_seconds
        self._ends: dict[str, float] = {}
        self._said: dict[str, tuple[float, float]] = {}

    @asynccontextmanager
    async def watching(self, clock: Clock) -> AsyncGenerator[CertificateWatch]:
        """Look again and again while the block lasts."""
        async with running(self.follow(clock), name="certificates"):
            yield self

    async def follow(self, clock: Clock) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.look()
            await clock.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Read the dates, and say what ends soon or has ended."""
        now = self._wall_seconds()
        for use, path in self._files.items():
            try:
                end_time = _end_time(path)
            except (OSError, ValueError) as error:
                log.warning("certificate_unreadable", use=use, reason=type(error).__name__)
                continue
            self._ends[use] = end_time
            if end_time - now < ALARM_SECONDS:
                self._warn(use, end_time, now)

    def collect(self) -> Iterable[Metric]:
        """Return when each file's first certificate ends."""
        text = "End of the certificate that ends first, in seconds since the epoch."
        metric = Metric("penstock_certificate_end_time_seconds", text + Merge.EACH.value, "gauge")
        for use, end_time in list(self._ends.items()):
            metric.add_sample(metric.name, {"use": use}, end_time)
        yield metric

    def _warn(self, use: str, end_time: float, now: float) -> None:
        said_end, said_at = self._said.get(use, (0.0, 0.0))
        if said_end == end_time and now - said_at < DAY_SECONDS:
            return
        self._said[use] = (end_time, now)
        event = "certificate_ends_soon" if end_time > now else "certificate_ended"
        log.error(event, use=use, path=str(self._files[use]), days_left=round((end_time - now) / DAY_SECONDS, 1))


def _end_time(path: Path) -> float:
    from cryptography import x509  # noqa: PLC0415  a process without certificates starts without it

    return min(one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(path.read_bytes()))
