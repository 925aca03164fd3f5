"""What the gRPC front end is told, and how gRPC's core is told it."""

from __future__ import annotations

from dataclasses import dataclass

from beyond_serve.server.config import Address, ServerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """What the gRPC front end is told. The defaults' numbers are conventions, not measurements.

    Attributes:
        max_message_bytes: of a request and of an answer, decompressed; over it RESOURCE_EXHAUSTED.
        max_connections: open connections; a further one is closed at once.
        max_concurrent_streams: calls of one connection at a time; a client's further ones wait there.
        max_metadata_bytes: a call's headers; over it RESOURCE_EXHAUSTED.
        handshake_timeout_s: from accepting a connection to its HTTP/2 and TLS preface.
        idle_timeout_s: a connection without calls is then closed; clients open it again unasked.
        keepalive_s: how often a silent connection is probed, and how long its answer may take.
        min_ping_interval_s: a client that pings more often, without data, is disconnected.
        tls_cert, tls_key: PEM files; empty for plain text.
        token: the bearer token that calls must carry; empty for none.
        trace_file, log_level: what the trace and logging extensions show.
    """

    host: str = "127.0.0.1"
    port: int = 8001
    max_message_bytes: int = 64 * 1024 * 1024
    max_connections: int = 4096
    max_concurrent_streams: int = 1024
    max_metadata_bytes: int = 16_384
    handshake_timeout_s: float = 10.0
    idle_timeout_s: float = 120.0
    keepalive_s: float = 30.0
    min_ping_interval_s: float = 5.0
    tls_cert: str = ""
    tls_key: str = ""
    token: str = ""
    trace_file: str = ""
    log_level: str = "info"

    @classmethod
    def from_config(cls, config: ServerConfig, address: Address) -> GrpcOptions:
        """The part of the server's configuration that concerns gRPC; `address` is where to listen."""
        return cls(
            host=address.host,
            port=address.port,
            max_message_bytes=config.max_body_bytes,
            max_connections=config.max_connections,
            handshake_timeout_s=config.header_timeout_s,
            idle_timeout_s=config.idle_timeout_s,
            tls_cert=config.tls_cert,
            tls_key=config.tls_key,
            token=config.token,
            trace_file=config.trace_file,
            log_level=config.log_level,
        )

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def channel_arguments(self) -> list[tuple[str, int]]:
        """These limits, and what else gRPC's core must be told."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.max_concurrent_streams", self.max_concurrent_streams),
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
            ("grpc.server_handshake_timeout_ms", round(self.handshake_timeout_s * 1000)),
            ("grpc.max_connection_idle_ms", round(self.idle_timeout_s * 1000)),
            ("grpc.keepalive_time_ms", round(self.keepalive_s * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_s * 1000)),
            ("grpc.http2.min_ping_interval_without_data_ms", round(self.min_ping_interval_s * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            # By default a second server would share the port, and take half of the connections in silence.
            ("grpc.so_reuseport", 0),
        ]
