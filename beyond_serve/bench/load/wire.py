"""What sends requests and hears answers: the seam between when (drive.py) and how (HTTP, gRPC)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol

from beyond_serve.bench.load.plan import TlsPlan

Ended = Callable[[int, int, int, int, int, bytes | None], None]
"""(row, received_ns, status, ErrorKind, bytes_in, the answer's part that may hold a trace)."""


class Wire(Protocol):
    """Sends prepared requests. Each `send` is followed by one call of `Ended`, never from inside it."""

    async def open(self, connections: int) -> None:
        """Connections made before the load begins, so that it does not begin with a crowd of them."""

    def send(self, row: int, image: int) -> int:
        """Send; returns when, in `time.monotonic_ns`. 0 if it has to wait inside the generator for a
        connection; `on_sent` is then called with the row and the time it left."""

    def expire(self, now_ns: int) -> None:
        """End with TIMEOUT what has been on its way for too long."""

    def abandon(self) -> None:
        """End with UNFINISHED whatever is still on its way."""

    async def close(self) -> None: ...


def ssl_context(tls: TlsPlan) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca or None)
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
