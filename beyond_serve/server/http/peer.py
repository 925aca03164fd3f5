"""Whether a client that sends no more is still there."""

from __future__ import annotations

import asyncio
import socket

PROBE_S = 0.02
"""Until a client on this machine or in this building has answered a probe; the sweep asks for the others."""


def is_gone(transport: asyncio.Transport) -> bool:
    """A transport that has met its end of input no longer watches the socket, so ask it."""
    return bool(transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
