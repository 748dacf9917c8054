"""Where a serve answers."""

from __future__ import annotations

from dataclasses import dataclass

_ANY_HOST = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  names of "every address", not a binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Host and ports as they are after every 0 was replaced."""

    host: str
    """Of HTTP and gRPC."""
    metrics_host: str = "127.0.0.1"
    http_port: int
    grpc_port: int
    metrics_port: int
    is_tls: bool = False

    @property
    def local_host(self) -> str:
        """An address at which this machine reaches itself."""
        return _local(self.host)

    @property
    def http(self) -> str:
        """Host and port of the HTTP face."""
        return f"{_written(self.host)}:{self.http_port}"

    @property
    def http_url(self) -> str:
        """URL of the HTTP face."""
        return f"{'https' if self.is_tls else 'http'}://{self.http}"

    @property
    def grpc(self) -> str:
        """Target of the gRPC face."""
        return f"{_written(self.host)}:{self.grpc_port}"

    @property
    def metrics(self) -> str:
        """Host and port of the metrics."""
        return f"{_written(self.metrics_host)}:{self.metrics_port}"

    @property
    def metrics_url(self) -> str:
        """URL of the metrics."""
        return f"http://{self.metrics}/metrics"


def _local(host: str) -> str:
    return _ANY_HOST.get(host, host)


def _written(host: str) -> str:
    return f"[{_local(host)}]" if ":" in _local(host) else _local(host)
