"""Amazon's protocol on loopback: moto's server in a thread, with one empty bucket a test."""

from __future__ import annotations

import itertools
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_serial = itertools.count()


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """Where it listens."""

    port: int

    def options(self, port: int | None = None) -> dict[str, str]:
        """Return what `open_objects` needs to hear; another port is that of a proxy before it."""
        endpoint = f"http://127.0.0.1:{port or self.port}"
        keys = {"access_key_id": "tests", "secret_access_key": "not-a-secret"}
        return {"endpoint": endpoint, "allow_http": "true", "region": "us-east-1"} | keys

    def bucket(self) -> str:
        """Make a bucket and return its URL."""
        name = f"models-{next(_serial)}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
        return f"s3://{name}/registry"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server for a block."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        yield S3Server(port=port)
    finally:
        server.stop()
