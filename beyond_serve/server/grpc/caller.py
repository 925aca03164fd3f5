"""Who called over gRPC, if the call is part of a distributed trace."""

from __future__ import annotations

from typing import Any, Final

import grpc

from beyond_serve.server.caller import Caller
from beyond_serve.server.error_table import grpc_code
from beyond_serve.server.grpc.router import metadata_value
from beyond_serve.wire.messages import SERVICE

# Source: OpenTelemetry's semantic conventions for gRPC: the statuses that are errors of a server's span.
_FAULTS: Final = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)


def grpc_caller(metadata: Any, method: str, error: BaseException | None) -> Caller | None:
    """Who is answered with `error`, or with success; None without a `traceparent` in the metadata."""
    traceparent = metadata_value(metadata, "traceparent")
    if traceparent is None:
        return None
    status = "OK" if error is None else grpc_code(error)
    attributes: dict[str, str | int] = {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": method,
        "rpc.grpc.status_code": grpc.StatusCode[status].value[0],
    }
    tracestate = metadata_value(metadata, "tracestate") or ""
    return Caller(traceparent, tracestate, f"{SERVICE}/{method}", attributes, status in _FAULTS)
