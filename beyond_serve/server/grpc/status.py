"""How an error leaves over gRPC: code, message and trailing metadata."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from beyond_serve.errors import BeyondError, QueueFullError
from beyond_serve.server.error_table import grpc_code, grpc_details

log = logging.getLogger(__name__)

Metadata = tuple[tuple[str, str], ...]

# Clients take at most 8 kB of trailers by default, in which every byte beyond ASCII takes three.
_LONGEST_DETAILS = 2000


def set_error(context: Any, error: BaseException, trailers: Metadata = ()) -> None:
    """Let the RPC end with `error`: cheaper than aborting, which raises through the handler.

    What is no BeyondError is logged here, with its stack, and tells the client nothing.
    """
    if not isinstance(error, BeyondError):
        log.error("a gRPC handler failed", exc_info=error)
    context.set_code(grpc.StatusCode[grpc_code(error)])
    context.set_details(grpc_details(error)[:_LONGEST_DETAILS])
    if isinstance(error, QueueFullError):
        trailers = (*trailers, ("retry-after", str(error.retry_after_s)))
    if trailers:
        context.set_trailing_metadata(trailers)
