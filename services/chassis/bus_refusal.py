"""Says why Kafka and this process do not come together, by the setting that is wrong.

aiokafka tells the same of a broker that is away and of one that refuses. A knock makes one connection to each broker that is named and
judges what it met. Only what cannot be anything else is a refusal: a connection that was closed may be a broker that ends, so plain speech
is known by a plain answer, and TLS by its alert. Whoever is away, slow or ends is no refusal; clients go on trying.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import Unanswered, knock, quieten, tls_context
from services.chassis.key_files import KeyExposed
from services.chassis.process import CannotStart

KNOCK_SECONDS = 20.0
"""Longest wait for a broker where nothing can begin without it."""
BRIEF_KNOCK_SECONDS = 2.0
"""The same where there is a last good state to begin with."""
AGAIN_SECONDS = 0.5
"""Pause before a broker that closed a connection is asked once more: one that ends is gone by then."""

_TLS_ALERT = 0x1503
"""First two bytes of a TLS alert, which plain clients read as the length of an answer."""

log = structlog.get_logger(__name__)


class BusRefused(CannotStart):
    """Kafka and this process refuse each other; the message names the setting and the next step."""

    exit_code = 78  # EX_CONFIG of sysexits.h: starting again will not help

    def __init__(self, setting: str, problem: str, next_step: str) -> None:
        """Keep the facts; none of them is a secret."""
        super().__init__(f"bus.{setting}: {problem}; {next_step}")
        self.setting = setting
        self.problem = problem
        self.next_step = next_step


async def check_bus(bus: BusSettings, last_state: Path | None = None) -> None:
    """Return when a broker lets this process in, or none can be reached; with a last good state on disk a refusal is only logged.

    Raises:
        BusRefused: a file cannot be used, or none of the brokers lets this process in and one says why.
    """
    quieten()
    check_files(bus)
    may_go_on = last_state is not None and await asyncio.to_thread(last_state.exists)
    refusal = await refusal_of(bus, BRIEF_KNOCK_SECONDS if may_go_on else KNOCK_SECONDS)
    if refusal is None:
        return
    if not may_go_on:
        raise refusal
    log.error("bus_refused", setting=f"bus.{refusal.setting}", problem=refusal.problem, next_step=refusal.next_step)


async def reason_of(bus: BusSettings, error: BaseException) -> str:
    """Return what a log says of a bus that was lost: the refusal, where the bus is secured and there is one, else the error's name."""
    refusal = await refusal_of(bus, BRIEF_KNOCK_SECONDS) if bus.is_secured else None
    return type(error).__name__ if refusal is None else str(refusal)


async def refusal_of(bus: BusSettings, limit_seconds: float) -> BusRefused | None:
    """Return why none of the brokers lets this process in; None when one does, and when none says why."""
    try:
        check_files(bus)
    except BusRefused as refusal:
        return refusal
    places = [place.strip().rpartition(":") for place in bus.bootstrap_servers.split(",")]
    found: list[BusRefused] = []
    for host, _, port in places:
        try:
            async with asyncio.timeout(limit_seconds):
                refusal = await _refusal_at(bus, host.strip("[]"), int(port))
        except (KafkaError, OSError, TimeoutError, ValueError):
            continue
        if refusal is None:
            return None
        found.append(refusal)
    return found[0] if found else None


def check_files(bus: BusSettings) -> None:
    """Read what TLS is spoken with.

    Raises:
        BusRefused: a file is not there, may not be read, or is not what it should be.
    """
    for setting, path in (("authorities", bus.authorities), ("certificate", bus.certificate), ("key", bus.key)):
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise BusRefused(setting, f"{path}: {error.strerror}", "name a PEM file that this process may read") from None
    if not bus.tls:
        return
    try:
        tls_context(bus.model_copy(update={"certificate": None, "key": None}))
    except OSError:
        raise BusRefused("authorities", f"{bus.authorities} holds no certificate", "name a PEM file of certificates") from None
    try:
        tls_context(bus)
    except KeyExposed:
        raise BusRefused("key", f"others may read {bus.key}", f"chmod 600 {bus.key}") from None
    except OSError:
        raise BusRefused(
            "certificate",
            f"{bus.certificate} and {bus.key} are no certificate with its key",
            "name PEM files that fit, the key without a password",
        ) from None


async def _refusal_at(bus: BusSettings, host: str, port: int) -> BusRefused | None:
    """Return what a broker and we have against each other, None when it lets us in.

    Raises:
        KafkaError, OSError: it is away, or what happened may pass.
    """
    place = f"{host}:{port}"
    try:
        await knock(bus, host, port)
    except ssl.SSLCertVerificationError as error:
        return _untrusted(bus, place, error)
    except SaslAuthenticationFailed:
        return BusRefused(
            "password", f"Kafka at {place} does not take this password of {bus.username!r}", "check bus.username and the password"
        )
    except UnsupportedSaslMechanismError:
        name = bus.sasl.value if bus.sasl else ""
        return BusRefused("sasl", f"Kafka at {place} does not take {name}", "set bus.sasl to a mechanism that the broker has enabled")
    except IllegalSaslStateError:
        return BusRefused("sasl", f"Kafka at {place} asks for no password on this port", "take bus.sasl out, or name the port that asks")
    except Unanswered as error:
        # A broker that ends closes connections too: what it does twice it means.
        return await _closed_again(bus, host, port, error)
    except (KafkaConnectionError, OSError) as error:
        refusal = _alerted(bus, place, error.__cause__ or error)
        if refusal is None and bus.tls and isinstance(error, OSError):
            refusal = await _plain_at(bus, host, port)
        if refusal is None:
            raise
        return refusal
    return None


def _untrusted(bus: BusSettings, place: str, error: ssl.SSLCertVerificationError) -> BusRefused:
    if "ostname mismatch" in error.verify_message or "IP address mismatch" in error.verify_message:
        step = "name the broker as its certificate does, or set bus.check_hostname = false"
        return BusRefused("check_hostname", f"the certificate of Kafka at {place} has another name", step)
    if "expired" in error.verify_message:
        return BusRefused("authorities", f"a certificate of Kafka at {place}, or its authority's, has ended", "renew it")
    whose = str(bus.authorities) if bus.authorities else "this machine's authorities"
    problem = f"the certificate of Kafka at {place} is not vouched for by {whose} ({error.verify_message})"
    return BusRefused("authorities", problem, "name the PEM file of the authority that signed it")


def _alerted(bus: BusSettings, place: str, cause: BaseException) -> BusRefused | None:
    """Judge what the broker said by TLS, to a client that speaks it and to one that does not."""
    if isinstance(cause, asyncio.IncompleteReadError) and (cause.expected or 0) >> 16 == _TLS_ALERT:
        return BusRefused("tls", f"Kafka at {place} speaks TLS on this port", "set bus.tls = true, or name the port that speaks plain")
    if isinstance(cause, ssl.SSLError) and ("CERTIFICATE" in (cause.reason or "") or "UNKNOWN_CA" in (cause.reason or "")):
        if bus.certificate is None:
            return BusRefused("certificate", f"Kafka at {place} asks for a certificate", "set bus.certificate and bus.key")
        return BusRefused(
            "certificate", f"Kafka at {place} does not take {bus.certificate}", "name one of the authority that the broker trusts"
        )
    return None


async def _plain_at(bus: BusSettings, host: str, port: int) -> BusRefused | None:
    """Judge a broker that ended the TLS handshake: one that answers without TLS speaks plain."""
    plain = {"tls": False, "authorities": None, "certificate": None, "key": None, "sasl": None}
    try:
        await knock(bus.model_copy(update=plain), host, port)
    except Unanswered:
        pass
    except (KafkaError, OSError):
        return None
    return BusRefused("tls", f"Kafka at {host}:{port} speaks plain on this port", "set bus.tls = false, or name the port that speaks TLS")


async def _closed_again(bus: BusSettings, host: str, port: int, first: Unanswered) -> BusRefused | None:
    await asyncio.sleep(AGAIN_SECONDS)
    try:
        await knock(bus, host, port)
    except Unanswered:
        if bus.sasl is None:
            step = "set bus.sasl, bus.username and the password"
            return BusRefused("sasl", f"Kafka at {host}:{port} answers nothing before a password", step)
        raise first from None
    return None
