"""What one client may take of the HTTP server's memory and time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of the HTTP front end. The defaults' numbers are conventions, not measurements.

    Attributes:
        max_header_bytes: request line and headers; over it 431.
        max_body_bytes: a body, announced or chunked; over it 413.
        max_connections: open connections; a further one gets 503.
        max_pipelined: requests of one connection that wait for an answer before reading stops.
        max_discarded_bytes: a refused request's body up to this size is read and thrown away, so that
            the connection can be used again; a larger one closes the connection unread.
        header_timeout_s: from a request's first byte to the end of its head; over it 408.
        body_timeout_s: from there to the end of the body; over it 408. It grows by a second for every
            `min_body_rate_bytes_per_s` received, so that a large body on a slow line may arrive.
        idle_timeout_s: between requests; over it the connection is closed without a word.
        write_timeout_s: without the client taking a single byte of an answer; over it aborted.
        write_buffer_bytes: unsent bytes of answers above which no more is read or handled.
        linger_s: after a refusal that closes, how long to swallow what the client still sends:
            closing at once would reset the connection, and the client might never see the answer.
        drain_grace_s: how long a connection that looks idle when draining begins may still bring the
            request that is already on its way.
    """

    max_header_bytes: int = 16_384
    max_body_bytes: int = 64 * 1024 * 1024
    max_connections: int = 4096
    max_pipelined: int = 16
    max_discarded_bytes: int = 65_536
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    min_body_rate_bytes_per_s: int = 4096
    idle_timeout_s: float = 120.0
    write_timeout_s: float = 30.0
    write_buffer_bytes: int = 262_144
    linger_s: float = 2.0
    drain_grace_s: float = 0.2
