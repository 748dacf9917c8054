"""Connections to routers, shared by the calls of a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from penstock.client.options import ClientOptions, TlsFiles

INFER = "/inference.GRPCInferenceService/ModelInfer"

CHANNEL_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    # A hung server is noticed by pings only when their own time-out is set: keepalive_timeout_ms alone left a stopped peer unnoticed
    # for 45 s (grpcio 1.85.1).
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
"""The server bounds messages, so the client does not."""


def metadata_of(options: ClientOptions, traceparent: str | None) -> tuple[tuple[str, str], ...]:
    """Return a call's metadata."""
    key = (("x-api-key", options.api_key),) if options.api_key is not None else ()
    trace = traceparent or current_traceparent()
    return (*key, ("traceparent", trace)) if trace else key


def current_traceparent() -> str | None:
    """Return the W3C traceparent of OpenTelemetry's current span, when the program uses OpenTelemetry and is in one."""
    try:
        from opentelemetry import trace  # noqa: PLC0415 - used where it is, needed by nobody
    except ImportError:
        return None
    context: Any = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def credentials_of(tls: TlsFiles) -> grpc.ChannelCredentials:
    """Read the PEM files of a TLS connection."""
    return grpc.ssl_channel_credentials(
        root_certificates=Path(tls.authority).read_bytes(),
        private_key=Path(tls.key).read_bytes() if tls.key else None,
        certificate_chain=Path(tls.certificate).read_bytes() if tls.certificate else None,
    )
