"""Where a serve answers."""

from __future__ import annotations

from dataclasses import dataclass

_ANY_HOST = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  names of "every address", not a binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Host and ports as they are after every 0 was replaced."""

    host: str
    http_port: int
    grpc_port: int
    metrics_port: int
    is_tls: bool = False

    @property
    def local_host(self) -> str:
        """An address at which this machine reaches itself."""
        return _ANY_HOST.get(self.host, self.host)

    @property
    def http(self) -> str:
        """Host and port of the HTTP face."""
        return f"{self._written}:{self.http_port}"

    @property
    def http_url(self) -> str:
        """URL of the HTTP face."""
        return f"{'https' if self.is_tls else 'http'}://{self.http}"

    @property
    def grpc(self) -> str:
        """Target of the gRPC face."""
        return f"{self._written}:{self.grpc_port}"

    @property
    def metrics(self) -> str:
        """Host and port of the metrics."""
        return f"{self._written}:{self.metrics_port}"

    @property
    def metrics_url(self) -> str:
        """URL of the metrics."""
        return f"http://{self.metrics}/metrics"

    @property
    def _written(self) -> str:
        return f"[{self.local_host}]" if ":" in self.local_host else self.local_host
